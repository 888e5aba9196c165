#![no_std]
//! link
