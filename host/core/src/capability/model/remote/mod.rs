//! The services that come along, reached over HTTP through the `genai` crate. This folder is
//! the only place that names that crate's types; none of them leaves it.

mod adapter;
mod answer;
mod exchange;
mod failure;
mod media;
mod message;
mod names;
mod request;
mod thoughts;
mod tls;

#[cfg(test)]
mod loopback;
#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_media;
#[cfg(test)]
mod wire_names;

pub(super) use adapter::Remote;
pub(crate) use exchange::{Client, RequestBuilder, Response, exchange};
pub(crate) use tls::within_origin;
