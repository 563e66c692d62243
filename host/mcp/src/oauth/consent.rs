//! Who gives a person's consent. Knows neither tokens nor servers.

use futures_util::future::BoxFuture;

/// Somebody who can show a person an address, and learns where the person was sent back to.
/// Without one, a server that needs consent is an error that says what to do.
pub trait Consent: Send + Sync + 'static {
    /// The address that the person is sent back to, a page of whoever implements this. It is
    /// asked for before each [`Consent::consent`]; a server remembers it.
    fn redirect_uri(&self) -> String;

    /// Shows the address to the person, and answers the whole address that the person was
    /// sent back to. It is dropped after some minutes, or when the call that needs it is.
    ///
    /// An error says why there is no consent.
    fn consent(&self, request: ConsentRequest) -> BoxFuture<'static, Result<String, String>>;
}

/// What a person is asked to consent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRequest {
    /// Which server it is for.
    pub server: String,
    /// What the person opens in a browser.
    pub address: String,
    /// What is asked for; empty if the server names nothing.
    pub scopes: Vec<String>,
}
