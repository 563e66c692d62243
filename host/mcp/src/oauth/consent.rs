//! The interface through which the host asks a person for consent. Embedders implement it.

use futures_util::future::BoxFuture;

/// Shows an address to a person, and returns the address to which the person was redirected. If no
/// implementation is set, a server that needs consent is an error that says what to do.
pub trait Consent: Send + Sync + 'static {
    /// Returns the address to which the person is redirected, a page of the implementor. Called
    /// before each [`Consent::consent`]; a server remembers the address.
    fn redirect_uri(&self) -> String;

    /// Shows the address to the person, and returns the whole address to which the person was
    /// redirected. Dropped after some minutes, or when the call that needs it is dropped.
    ///
    /// An error says why there is no consent.
    fn consent(&self, request: ConsentRequest) -> BoxFuture<'static, Result<String, String>>;
}

/// A request for a person's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRequest {
    /// The server that needs the consent.
    pub server: String,
    /// The address that the person opens in a browser.
    pub address: String,
    /// The scopes; empty if the server names none.
    pub scopes: Vec<String>,
}
