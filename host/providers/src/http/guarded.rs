//! The client of agents' requests: each is checked for permission, its name is resolved once, the
//! addresses are checked, and the connection goes to the checked addresses. Follows no redirects
//! and keeps no connections.

use super::address::why_not_public;
use super::body::{Body, too_late, too_long};
use super::error::{HttpError, HttpErrorKind};
use super::options::{self, HttpOptions, Resolver};
use super::rules;
use super::target::{Target, title};
use super::tls::{self, Trust};
use crate::foreign;
use crate::permits::PermissionChecker;
use crate::secrets::{Secrets, placeholders};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lastword_types::clock::Clock;
use lastword_types::id::RunId;
use lastword_types::permission::{Access, Capability};
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use secrecy::ExposeSecret;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// The largest number of requests in flight of one run, including those that wait for a person.
const REQUESTS_MAX: usize = 16;
/// The largest number of addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// The `User-Agent` of requests that set none.
const USER_AGENT: &str = concat!("lastword/", env!("CARGO_PKG_VERSION"));

/// The HTTP client of all runs of a host. A cloneable handle.
#[derive(Clone)]
pub struct Guarded {
    inner: Arc<Inner>,
}

struct Inner {
    options: HttpOptions,
    /// The embedder's resolver, until the host is shut down.
    resolver: Mutex<Arc<dyn Resolver>>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    /// The TLS settings; the system's certificates are read once, when they are first needed.
    secure: OnceCell<rustls::ClientConfig>,
    runs: Mutex<HashMap<RunId, Weak<Semaphore>>>,
}

/// A request.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute address.
    pub url: Url,
    /// The headers. Their values may contain placeholders for secrets.
    pub headers: HeaderMap,
    /// The body, which is read to its end before anything is sent.
    pub body: BoxStream<'static, Result<Bytes, HttpError>>,
}

/// A response whose body has not been read yet.
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, without secrets.
    pub headers: HeaderMap,
    /// The address that it came from.
    pub url: Url,
    /// The body, as it arrives.
    pub body: Body,
}

/// Completes at the deadline of a request and of its redirects.
pub(super) type Deadline = Option<BoxFuture<'static, ()>>;

impl Guarded {
    /// Creates a client with these options, which fills in these secrets.
    pub fn new(mut options: HttpOptions, secrets: Secrets, clock: Arc<dyn Clock>) -> Self {
        let resolver = std::mem::replace(&mut options.resolver, options::system());
        Self {
            inner: Arc::new(Inner {
                resolver: Mutex::new(resolver),
                options,
                secrets,
                clock,
                secure: OnceCell::new(),
                runs: Mutex::default(),
            }),
        }
    }

    /// Takes the embedder's resolver out, when the host is shut down.
    pub fn take_resolver(&self) -> Arc<dyn Resolver> {
        let resolver = self.inner.resolver.lock();
        let mut resolver = resolver.unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut resolver, options::system())
    }

    /// Sends a request on a run's behalf, once it is allowed. May wait for a person. Dropping the
    /// future, or the response's body, ends the request.
    pub async fn send(
        &self,
        run: RunId,
        request: Request,
        permits: &PermissionChecker,
    ) -> Result<Response, HttpError> {
        self.send_within(&mut None, run, request, permits).await
    }

    /// As [`Guarded::send`], with the deadline of an earlier request, or a new one.
    pub(super) async fn send_within(
        &self,
        deadline: &mut Deadline,
        run: RunId,
        mut request: Request,
        permits: &PermissionChecker,
    ) -> Result<Response, HttpError> {
        let target = Target::of(&mut request.url)?;
        rules::check(&request.method, &request.headers)?;

        let permit = self.permit(run)?;
        let title = title(&request.method, &request.url);
        let mut access = Access::new(Capability::Network, &target.text, title);

        if let Some(query) = request.url.query() {
            access = access.details(&format!("query: {query}"));
        }

        permits.require(access).await?;
        let names = self
            .inner
            .allowed_secrets(&request.headers, &target, permits)
            .await?;

        let mut waits = deadline
            .take()
            .unwrap_or_else(|| self.inner.clock.sleep(self.inner.options.total));
        let carried = !names.is_empty();
        let is_head = request.method == Method::HEAD;
        let url = request.url.clone();

        let sent = tokio::select! {
            biased;
            () = &mut waits => return Err(too_late(&target.text)),
            sent = self.inner.send_checked(request, &target, &names) => sent?,
        };

        let answer = RawResponse {
            sent,
            target,
            url,
            carried,
            is_head,
        };
        answer.check(&self.inner, waits, permit)
    }

    /// Takes a permit for one more request of a run.
    fn permit(&self, run: RunId) -> Result<OwnedSemaphorePermit, HttpError> {
        let mut runs = self
            .inner
            .runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, requests| requests.strong_count() > 0);

        let requests = runs.get(&run).and_then(Weak::upgrade).unwrap_or_else(|| {
            let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
            runs.insert(run, Arc::downgrade(&requests));
            requests
        });

        requests.try_acquire_owned().map_err(|_| {
            let message = format!("a run has at most {REQUESTS_MAX} requests in flight");
            HttpError::new(HttpErrorKind::Busy, message)
        })
    }
}

impl Inner {
    /// Returns the secrets that the headers name, after a permission check of each for the target.
    async fn allowed_secrets(
        &self,
        headers: &HeaderMap,
        target: &Target,
        permits: &PermissionChecker,
    ) -> Result<BTreeSet<String>, HttpError> {
        let mut names = BTreeSet::new();

        for value in headers.values() {
            let text = String::from_utf8_lossy(value.as_bytes());
            let found = placeholders(&text).map_err(|error| invalid_header(error.to_string()))?;
            names.extend(found.into_iter().map(str::to_owned));
        }

        for name in &names {
            if !self.secrets.is_allowed_for(name, &target.text) {
                let message = format!(
                    "no secret `{name}` may be sent to {}; an operator says where with `hosts` \
                     in [secrets.{name}]",
                    target.text
                );
                return Err(HttpError::new(HttpErrorKind::Denied, message));
            }

            let title = format!("send the secret `{name}` to {}", target.text);
            // For this request only, since the target does not say which path it goes to.
            let access = Access::new(Capability::Secrets, name, title).once();
            permits.require(access).await?;
        }

        Ok(names)
    }

    /// Sends a request that is permitted, and returns its response's headers with the unread body.
    async fn send_checked(
        &self,
        request: Request,
        target: &Target,
        names: &BTreeSet<String>,
    ) -> Result<reqwest::Response, HttpError> {
        let body = self.collect(request.body).await?;
        let addresses = self.addresses(target).await?;
        let mut headers = request.headers;

        if !names.is_empty() {
            self.check_transport(target, &addresses)?;
            headers = self.fill(&headers)?;
            // The response must not be compressed, so that secrets can be found in it.
            headers.remove(header::ACCEPT_ENCODING);
            // And it must be whole, since a secret is not found in parts of it.
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }

        let client = self.client(target, addresses).await?;
        let mut sent = client.request(request.method, request.url).headers(headers);

        if !body.is_empty() {
            sent = sent.body(body);
        }

        let sent = sent.send().await;
        sent.map_err(|error| HttpError::of(&error, &target.text))
    }

    async fn collect(
        &self,
        mut body: BoxStream<'static, Result<Bytes, HttpError>>,
    ) -> Result<Bytes, HttpError> {
        let most = self.options.request_bytes;
        let mut bytes = Vec::new();

        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            if bytes.len() + chunk.len() > most {
                let message = format!("the body of a request has at most {most} bytes");
                return Err(HttpError::new(HttpErrorKind::RequestBytes, message));
            }
            bytes.extend_from_slice(&chunk);
        }

        Ok(bytes.into())
    }

    fn resolver(&self) -> Arc<dyn Resolver> {
        Arc::clone(&self.resolver.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the addresses of a host, if all of them may be reached.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, HttpError> {
        let found = match target.address {
            Some(address) => vec![address],
            None => {
                let resolver = self.resolver();
                let found = foreign::caught(|| resolver.resolve(&target.host)).await;
                found.ok().and_then(Result::ok).unwrap_or_default()
            }
        };

        if found.is_empty() {
            let message = format!("the name {} has no address", target.host);
            return Err(HttpError::new(HttpErrorKind::Resolve, message));
        }

        for address in &found {
            self.check_address(target, *address)?;
        }

        let found = found.into_iter().take(ADDRESSES_MAX);
        Ok(found
            .map(|address| SocketAddr::new(address, target.port))
            .collect())
    }

    fn check_address(&self, target: &Target, address: IpAddr) -> Result<(), HttpError> {
        let Some(what) = why_not_public(address) else {
            return Ok(());
        };

        if self.is_private(target, address) {
            Ok(())
        } else {
            Err(HttpError::new(
                HttpErrorKind::Private,
                format!(
                    "{} leads to {what}, not to the public internet; an operator who means it \
                     names the host and port as private",
                    target.text
                ),
            ))
        }
    }

    /// Whether the operator listed the host or the address as private.
    fn is_private(&self, target: &Target, address: IpAddr) -> bool {
        let private = &self.options.private;
        let address = SocketAddr::new(address.to_canonical(), target.port);
        !private.is_empty()
            && (private.covers(&target.text) || private.covers(&address.to_string()))
    }

    /// Secrets are sent encrypted, or only within this machine.
    fn check_transport(&self, target: &Target, to: &[SocketAddr]) -> Result<(), HttpError> {
        let stays = |to: &SocketAddr| {
            to.ip().to_canonical().is_loopback() && self.is_private(target, to.ip())
        };
        if target.secure || to.iter().all(stays) {
            Ok(())
        } else {
            Err(HttpError::new(
                HttpErrorKind::Denied,
                format!(
                    "secrets are not sent to {} over `http`; use `https`",
                    target.text
                ),
            ))
        }
    }

    fn fill(&self, headers: &HeaderMap) -> Result<HeaderMap, HttpError> {
        let mut filled = HeaderMap::with_capacity(headers.len());

        for (name, value) in headers {
            let text = String::from_utf8_lossy(value.as_bytes());
            let names = placeholders(&text).map_err(|error| invalid_header(error.to_string()))?;
            if names.is_empty() {
                filled.append(name, value.clone());
                continue;
            }

            // Their use was allowed before the name was resolved.
            let text = self.secrets.fill(&text, &|_| Ok(()));
            let text = text.map_err(|error| invalid_header(error.to_string()))?;
            let value = HeaderValue::from_str(text.expose_secret());

            let mut value = value.map_err(|_| {
                invalid_header(format!(
                    "a secret for `{name}` has characters that no header may"
                ))
            })?;
            value.set_sensitive(true);
            filled.append(name, value);
        }

        Ok(filled)
    }

    /// Creates a client for one request, which only connects to the checked addresses.
    async fn client(
        &self,
        target: &Target,
        to: Vec<SocketAddr>,
    ) -> Result<reqwest::Client, HttpError> {
        let broken = |reason: String| HttpError::new(HttpErrorKind::Tls, reason);
        let tls = if target.secure {
            self.secure
                .get_or_try_init(|| read_certificates(self.options.roots.clone()))
                .await?
                .clone()
        } else {
            tls::config(Trust::None, &[]).map_err(|error| broken(error.to_string()))?
        };

        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(self.options.connect)
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT)
            .dns_resolver(CheckedAddresses(to));

        client
            .build()
            .map_err(|_| broken("cannot set up a connection".to_owned()))
    }
}

async fn read_certificates(
    also: Vec<CertificateDer<'static>>,
) -> Result<rustls::ClientConfig, HttpError> {
    let read = move || tls::config(Trust::System(&also), &["http/1.1"]);
    let read = tokio::task::spawn_blocking(read).await;
    let failed = |reason: String| {
        let message = format!("cannot check certificates on this machine: {reason}");
        HttpError::new(HttpErrorKind::Tls, message)
    };
    let config = read.map_err(|error| failed(error.to_string()))?;
    let mut config = config.map_err(|error| failed(error.to_string()))?;

    // No TLS sessions are resumed, so that a server cannot link two runs.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn invalid_header(reason: String) -> HttpError {
    HttpError::new(HttpErrorKind::Header, reason)
}

/// Resolves every name to the checked addresses.
struct CheckedAddresses(Vec<SocketAddr>);

impl reqwest::dns::Resolve for CheckedAddresses {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses: reqwest::dns::Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

/// The headers of a response, before they are redacted.
struct RawResponse {
    sent: reqwest::Response,
    target: Target,
    url: Url,
    /// Whether the request carried secrets.
    carried: bool,
    is_head: bool,
}

impl RawResponse {
    fn check(
        self,
        inner: &Inner,
        deadline: BoxFuture<'static, ()>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response, HttpError> {
        let target = &self.target.text;
        let mut headers = self.sent.headers().clone();
        if rules::size(&headers) > rules::HEADER_BYTES_MAX {
            let message = format!("{target} sent more headers than an answer may have");
            return Err(HttpError::new(HttpErrorKind::ResponseHeaders, message));
        }

        let announced = self.sent.content_length().filter(|_| !self.is_head);
        if announced.is_some_and(|bytes| bytes > inner.options.response_bytes) {
            return Err(too_long(target));
        }

        if self.carried {
            if self.sent.status() == StatusCode::PARTIAL_CONTENT {
                let message =
                    format!("{target} sent a part of its answer, which was not asked for");
                return Err(HttpError::new(HttpErrorKind::Coding, message));
            }

            let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
            if codings.any(|coding| coding != "identity") {
                let message =
                    format!("{target} compressed its answer in a way that was not asked for");
                return Err(HttpError::new(HttpErrorKind::Coding, message));
            }

            headers.remove(header::CONTENT_LENGTH);
            redact(&inner.secrets, &mut headers);
        }

        Ok(Response {
            status: self.sent.status(),
            headers,
            url: self.url,
            body: Body {
                target: self.target.text,
                response: self.sent,
                clock: Arc::clone(&inner.clock),
                deadline,
                idle: inner.options.idle,
                remaining: inner.options.response_bytes,
                redacted: self.carried.then(|| inner.secrets.redacted_stream()),
                ended: false,
                _permit: permit,
            },
        })
    }
}

fn redact(secrets: &Secrets, headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let seen = secrets.redact_bytes(value.as_bytes());
        if seen != value.as_bytes() {
            *value = HeaderValue::from_bytes(&seen)
                .unwrap_or_else(|_| HeaderValue::from_static("[secret]"));
        }
    }
}
