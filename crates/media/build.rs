//! Refuses to build with an OpenH264 without its assembly: openh264-sys2 goes on without it when nasm is missing, and encodes
//! 2.5 times slower.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["PATH", "NASM", "OPENH264_NO_ASM"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64")
        && let Some(why) = without_assembly()
    {
        println!(
            "cargo::error={why}, so OpenH264 would be built without its assembly and encode 2.5 times slower; put that right \
             (Debian: `apt-get install nasm`), then run `cargo clean -p openh264-sys2` and build again"
        );
    }
}

/// Why openh264-sys2 leaves the assembly out, by the rules of its build script.
fn without_assembly() -> Option<&'static str> {
    if env::var_os("OPENH264_NO_ASM").is_some() {
        return Some("OPENH264_NO_ASM is set");
    }
    let nasm = env::var_os("NASM").unwrap_or_else(|| "nasm".into());
    match Command::new(nasm).arg("-v").output() {
        Ok(run) if run.status.success() => None,
        Ok(_) => Some("nasm does not run"),
        Err(_) => Some("nasm is not installed"),
    }
}
