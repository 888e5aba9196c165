//! Tells rustc that `--cfg loom` is ours, so that a misspelt one is still warned of.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rerun-if-changed=build.rs");
}
