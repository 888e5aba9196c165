//! Tests that are about one vendor's processors, or about what one emulator alone can do.
//!
//! Whose processor a guest has is decided in the lab ([`lab::Vendor::usual`]); a test that must know asks its machine. What is
//! here is for those that could not be run on the other one at all.

use crate::Result;
use lab::Vendor;

/// Whether guests have AMD's processors, so QEMU runs them; else says why the test is left out.
///
/// # Errors
/// If the environment names a vendor that is none.
pub fn is_amd(why_not_elsewhere: &str) -> Result<bool> {
    let vendor = Vendor::usual()?;
    if vendor != Vendor::Amd {
        eprintln!("tests: left out on {vendor}: {why_not_elsewhere}");
    }
    Ok(vendor == Vendor::Amd)
}
