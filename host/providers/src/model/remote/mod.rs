//! The services that come along, reached over HTTP. `encode` makes a service's request,
//! `decode` reads its answer, both pure; `adapter` sends the one and `answer` hands the bytes
//! of the other on.

mod adapter;
mod answer;
mod decode;
mod encode;
mod failure;
mod media;
mod names;
mod overflow;
mod retry_after;
mod thoughts;
mod tls;
mod window;

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
