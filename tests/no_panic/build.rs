//! Links the program without the start files of the system: nobody starts it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os != "none") {
        for argument in ["-nostartfiles", "-lc"] {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}
