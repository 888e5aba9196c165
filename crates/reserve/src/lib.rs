#![no_std]
//! reserve
