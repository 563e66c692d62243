//! How a person's consent is asked for; implemented by embedders.

use futures_util::future::BoxFuture;

/// Shows an address to a person, and learns the address to which the person was redirected. Without
/// one, a server that needs consent is an error that says what to do.
pub trait Consent: Send + Sync + 'static {
    /// The address that the person is redirected to, a page of the implementor. It is read before
    /// each [`Consent::consent`]; a server remembers it.
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
    /// The server that it is for.
    pub server: String,
    /// The address that the person opens in a browser.
    pub address: String,
    /// The scopes; empty if the server names none.
    pub scopes: Vec<String>,
}
