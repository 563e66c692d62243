//! The built-in services, reached over HTTP. `encode` builds a service's request and `decode` reads
//! its response, both pure; `adapter` sends the former, and `response` passes the bytes of the
//! latter on.

mod adapter;
mod decode;
mod encode;
mod failure;
mod media;
mod names;
mod overflow;
mod response;
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
