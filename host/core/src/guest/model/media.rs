//! Passes bytes between a conversation and a model: loads those that a request's parts refer to,
//! and stores those that a model returns.

use super::Granted;
use crate::guest::convert::{BLOB_BYTES_MAX, Blob, blob_of};
use crate::guest::failure::{OrFailure, failure};
use lastword_providers::model::{Blobs, ModelMessage, REQUEST_BYTES_MAX};
use lastword_sandbox::bindings::lastword::agent::types::Failure;
use lastword_types::session::{BlobId, Content, Part, PartBody, Role};
use std::collections::HashMap;
use std::sync::Arc;

/// Loads the bytes that the messages refer to, if the model accepts their type: the guest's own,
/// and those that the session keeps. A part whose bytes are missing stays a part without bytes.
pub(super) async fn load(
    granted: &Granted,
    model: &str,
    messages: &[ModelMessage],
    inline: Vec<Blob>,
) -> Result<Blobs, Failure> {
    let at = &granted.conversation;
    let mut inline: HashMap<BlobId, Vec<u8>> = inline.into_iter().collect();
    let mut blobs = Blobs::new();
    let mut sum = 0;
    let types = messages
        .iter()
        .flat_map(named)
        .map(|(media, _)| media.to_owned());
    let taken = granted.taken(model, types.collect()).await.or_failure()?;
    for (media_type, id) in messages.iter().flat_map(named) {
        if blobs.contains_key(id) || !taken.contains(media_type) {
            continue;
        }
        let found = match inline.remove(id) {
            Some(bytes) => Some(bytes),
            None => at.store.blob(at.session, id.clone()).await.or_failure()?,
        };
        let Some(bytes) = found else {
            continue;
        };
        sum += bytes.len();
        if sum > REQUEST_BYTES_MAX {
            return Err(failure(
                "limit",
                format!(
                    "the images and files of one request may hold {REQUEST_BYTES_MAX} bytes \
                     together, and these hold more; summarise the history or name fewer of them"
                ),
            ));
        }
        blobs.insert(id.clone(), bytes.into());
    }

    Ok(blobs)
}

/// Returns the data of a message, by type and id. Data that a model produced is left out, since no
/// service accepts it as input.
fn named(message: &ModelMessage) -> Vec<(&str, &BlobId)> {
    let mut named = Vec::new();
    for part in &message.parts {
        match &part.body {
            PartBody::Data {
                media_type, blob, ..
            } if message.role == Role::User => named.push((media_type.as_str(), blob)),
            PartBody::ToolResult(result) => {
                named.extend(result.content.iter().filter_map(|content| match content {
                    Content::Data {
                        media_type, blob, ..
                    } => Some((media_type.as_str(), blob)),
                    _ => None,
                }));
            }
            _ => {}
        }
    }

    named
}

/// Converts bytes from a model into a part, and returns the bytes to be stored for it.
pub(super) fn said(
    media_type: String,
    name: Option<String>,
    bytes: &Arc<[u8]>,
) -> Result<(Part, Option<Blob>), Failure> {
    if bytes.len() > BLOB_BYTES_MAX {
        return Err(failure(
            "limit",
            format!(
                "the model said {} bytes at once; at most {BLOB_BYTES_MAX} are kept",
                bytes.len()
            ),
        ));
    }

    let mut stored = Vec::new();
    let blob = blob_of(bytes.to_vec(), &mut stored);
    let body = PartBody::Data {
        media_type,
        name,
        blob,
        bytes: bytes.len() as u64,
    };

    Ok((body.into(), stored.pop()))
}
