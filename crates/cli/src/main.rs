//! hyperdbg
fn main() {}
