//! Rebuilds the crate when a migration is added: `sqlx::migrate!` reads the directory at compile time, and cargo does not
//! know that.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
