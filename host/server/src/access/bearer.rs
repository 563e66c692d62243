//! A single secret token, sent as `Authorization: Bearer …`, whose holder may do everything. Stores
//! the token's digest, never the token itself.

use super::{Action, Arrival, Authorizer, Principal, Token, Unauthenticated};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use lastword::WorkspaceKey;
use sha2::{Digest, Sha256};
use std::hint::black_box;

/// Lets in clients that send the token. They may do everything.
#[derive(Clone)]
pub struct BearerToken {
    digest: [u8; 32],
}

impl BearerToken {
    /// Creates an authorizer that lets in the holder of this token.
    #[must_use]
    pub fn new(token: &Token) -> Self {
        Self {
            digest: Sha256::digest(token.as_str()).into(),
        }
    }

    /// Compares digests in constant time, so that the duration reveals nothing about the token.
    fn is(&self, sent: &str) -> bool {
        let sent: [u8; 32] = Sha256::digest(sent).into();
        let differences = self.digest.iter().zip(sent);
        let difference =
            differences.fold(0_u8, |all, (ours, theirs)| black_box(all | (ours ^ theirs)));
        difference == 0
    }
}

#[async_trait::async_trait]
impl Authorizer for BearerToken {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        _arrival: &Arrival,
    ) -> Result<Principal, Unauthenticated> {
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else {
            return Err(Unauthenticated(
                "send the server's token as `Authorization: Bearer …`, once".to_owned(),
            ));
        };

        let token = sent.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        match token {
            Some(token) if self.is(token) => Ok(Principal::new("owner")),
            Some(_) => Err(Unauthenticated(
                "this is not the server's token; read it from its token file again".to_owned(),
            )),
            None => Err(Unauthenticated(
                "the `Authorization` header must be `Bearer` and the server's token".to_owned(),
            )),
        }
    }

    async fn allows(&self, _: &Principal, _: Action<'_>, _: Option<&WorkspaceKey>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = Token::generate().unwrap();
        let bearer = BearerToken::new(&token);
        assert!(bearer.is(token.as_str()));
        let mut other = token.as_str().to_owned();
        other.pop();
        assert!(!bearer.is(&other), "a prefix");
        assert!(!bearer.is(&format!("{}0", token.as_str())), "more");
        assert!(
            !bearer.is(&token.as_str().to_uppercase())
                || !token.as_str().contains(char::is_alphabetic)
        );
        assert!(!bearer.is(""));
    }
}
