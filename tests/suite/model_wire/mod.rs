//! What models' services send, through a host and over a socket: the corpus of
//! `tests/data/model-wire.json`, and conversations that do not fit a model's window.

mod cases;
mod service;
mod window;
