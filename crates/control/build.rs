//! Rebuilds the crate when a migration is added: `sqlx::migrate!` reads the directory at compile time, and cargo does not
//! know that. The web pages have to be there before they can be built in: making them is `scripts/web`'s work, as a build asks
//! no network.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=web/dist");
    let is_built = |page: &str| std::path::Path::new("web/dist").join(page).exists();
    assert!(
        is_built("console.html") && is_built("join.html"),
        "the web pages are not built: run scripts/setup (it needs npm), which makes crates/control/web/dist"
    );
}
