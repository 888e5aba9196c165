#![no_std]
//! hypervisor
