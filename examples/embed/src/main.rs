//! Embeds the host: runs an agent that never yields, cancels it once it has spoken, and
//! prints what it said and the receipt. Name a component, such as that of `examples/hog`:
//!
//! ```text
//! cargo build --release --target wasm32-wasip2 -p hog
//! cargo run --bin embed -- target/wasm32-wasip2/release/hog.wasm
//! ```

use lastword::event::EventBody;
use lastword::{Host, WorkspaceKey, WorkspaceOptions};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let component = std::env::args()
        .nth(1)
        .ok_or("name a component: embed AGENT.wasm")?;
    let data = std::env::temp_dir().join(format!("lastword-embed-{}", std::process::id()));

    let host = Host::builder().data_dir(&data).build().await?;
    let agent = host.load_agent("guest", component.as_str()).await?;
    let workspace = host
        .open_workspace(WorkspaceKey::name("embed"), WorkspaceOptions::new())
        .await?;
    let session = workspace.new_session(&agent).await?;
    let run = session.prompt("Speak, and then never stop.").await?; // durable from here on

    let mut events = run.events(); // past and future; replayable from any event
    while let Some(event) = events.next().await {
        match event?.body {
            EventBody::TextDelta { text, .. } => {
                println!("{text}");
                // The guest is gone within a millisecond, and this returns when its last
                // word is on disk.
                println!("{:#?}", run.cancel().await?);
            }
            EventBody::RunEnded { receipt } => println!("ended: {}", receipt.cause),
            _ => {}
        }
    }
    let unfinished = host.shutdown().await;
    assert!(unfinished.is_empty(), "every end is on disk");
    std::fs::remove_dir_all(&data)?;
    Ok(())
}
