//! Checks every request before its route runs: the host name that it was sent to, the origin of the
//! web page that sent it, and its sender, whom the [`Authorizer`](crate::Authorizer) identifies.

use crate::access::{Arrival, Principal};
use crate::api::App;
use crate::problem::Problem;
use crate::serve::Underway;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// The one path that needs no token: the health check.
const OPEN: &str = "/v1/health";

pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let arrival = parts.extensions.get::<Arrival>();
    let arrival = arrival.copied().unwrap_or(Arrival::Unknown);
    let checked = async {
        let authority = authority(&parts.uri, &parts.headers);
        addressed(&app, &arrival, authority.as_ref())?;
        own_page(&app, &parts.headers, authority.as_ref())?;
        if parts.uri.path() == OPEN {
            return Ok(None);
        }
        let known = app.authorizer.authenticate(&parts.headers, &arrival);
        known
            .await
            .map(Some)
            .map_err(|why| Problem::new("unauthenticated", why.0))
    };

    let checked: Result<Option<Principal>, Problem> = checked.await;

    let underway = parts.extensions.get::<Arc<Underway>>();
    if let (Ok(None) | Err(_), Some(underway)) = (&checked, underway) {
        underway.anonymous();
    }

    let principal = match checked {
        Ok(principal) => principal,
        Err(problem) => return problem.into_response(),
    };

    if let Some(principal) = principal {
        tracing::Span::current().record("principal", principal.name());
        parts.extensions.insert(principal);
    }

    next.run(Request::from_parts(parts, body)).await
}

/// Returns the host that the request is addressed to: HTTP/2 names it in the URI, HTTP/1.1 in a
/// header. Returns `None` if the header is repeated or contradicts the URI, or if both are missing.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().ok()?.parse().ok()?),
        (Some(_), Some(_)) => return None,
        (None, _) => None,
    };

    match (uri.authority().cloned(), header) {
        (Some(uri), Some(header)) if uri != header => None,
        (uri, header) => uri.or(header),
    }
}

/// Refuses requests for an unknown host name: a web page whose name resolves to this machine (DNS
/// rebinding) sends its own name. Unix sockets and this process have no host name to check.
fn addressed(app: &App, arrival: &Arrival, authority: Option<&Authority>) -> Result<(), Problem> {
    if matches!(arrival, Arrival::Unix { .. } | Arrival::InProcess) {
        return Ok(());
    }

    let refused = |what: String| {
        let how = "send it to a loopback address or to a name that the server was told to allow";
        Err(Problem::new("foreign-host", format!("{what}; {how}")))
    };

    let Some(authority) = authority else {
        return refused("the request has no `Host` header, or several".to_owned());
    };

    let host = bare(authority.host());
    let allowed = app.options.allowed_hosts.iter();
    let named = host.eq_ignore_ascii_case("localhost")
        || allowed
            .into_iter()
            .any(|allowed| host.eq_ignore_ascii_case(bare(allowed)));
    let address = host.parse::<IpAddr>().is_ok_and(|ip| {
        let ip = ip.to_canonical();
        let own = |local: IpAddr| local.to_canonical() == ip;
        ip.is_loopback() || matches!(arrival, Arrival::Tcp { local, .. } if own(local.ip()))
    });
    if named || address {
        Ok(())
    } else {
        refused(format!("this server does not answer for the host `{host}`"))
    }
}

/// Returns an IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inside.unwrap_or(host)
}

/// Refuses requests from web pages of other origins. Browsers send an `Origin` header; programs
/// do not.
fn own_page(app: &App, headers: &HeaderMap, authority: Option<&Authority>) -> Result<(), Problem> {
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let site = origin.parse::<Uri>().ok();
        let site = site.filter(|site| matches!(site.scheme_str(), Some("http" | "https")));
        let own = site.is_some_and(|site| site.authority() == authority && authority.is_some());
        let mut allowed = app.options.allowed_origins.iter();
        if !own && !allowed.any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Err(Problem::new(
                "foreign-origin",
                format!(
                    "web pages of `{origin}` may not command this server; send the request from a program, \
                     without an `Origin` header, or from a page of the server's own address"
                ),
            ));
        }
    }

    Ok(())
}
