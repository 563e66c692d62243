//! The figures: what each step of a run costs, with both sides of a ratio taken in one run.
//! Prints; asserts nothing. `cargo bench` runs all, `cargo bench -- cancel` those whose name
//! begins so.

mod cancel;
mod load;
mod parked;
mod raw;
mod readers;
mod stats;
mod store;
mod streams;
mod tools;

use stats::heading;

#[tokio::main]
async fn main() {
    // The client asks for a provider even where nothing is encrypted.
    let _only_once = rustls::crypto::ring::default_provider().install_default();
    let wanted = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'));
    if let Some(url) = std::env::args()
        .nth(2)
        .filter(|_| wanted.as_deref() == Some("read"))
    {
        return readers::read(&url).await;
    }
    let is_wanted = |name: &str| {
        wanted
            .as_ref()
            .is_none_or(|word| name.starts_with(word.as_str()))
    };
    if is_wanted("load") {
        heading("load: compile, load, instantiate, call");
        load::figures().await;
    }
    if is_wanted("runs") {
        heading("runs: accept → ended, at full durability, beside raw SQLite");
        store::runs().await;
    }
    if is_wanted("append") {
        heading("append: one call, and what is persisted per second");
        store::appends().await;
    }
    if is_wanted("cancel") {
        heading("cancel: from latching the cause to the guest being gone");
        cancel::figures().await;
    }
    if is_wanted("beside") {
        heading("beside: a well-behaved run beside 8 hogs");
        cancel::beside_hogs().await;
    }
    if is_wanted("streams") {
        heading("streams: from append to a subscriber of the server, beside raw SQLite");
        streams::figures().await;
    }
    if is_wanted("tools") {
        heading("tools: a call by a guest, beside the same natively");
        tools::figures().await;
    }
    if is_wanted("parked") {
        heading("parked: memory of runs that wait");
        parked::figures().await;
    }
}
