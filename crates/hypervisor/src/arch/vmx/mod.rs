//! Intel: virtual machine extensions (SDM volume 3, 325384).

pub mod ept;
pub mod mtrr;
