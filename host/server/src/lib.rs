//! The HTTP API of a host: an axum router over a [`lastword::Host`].
