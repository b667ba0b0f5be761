//! Sends signed sample webhooks to a bridge over HTTP: for `send` and `demo`.
//! Must not know how a webhook is signed.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tokio::time::timeout;

use crate::https::{self, Connector, Roots};
use crate::provider::SignedWebhook;

/// Longer than any ack timeout that makes sense: the bridge answers sooner.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// A bridge is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer of the bridge is some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Posts webhooks to one URL.
pub struct Poster {
    client: Client<Connector, Full<Bytes>>,
    url: String,
}

/// What a bridge answered.
#[derive(Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: String,
}

impl Poster {
    /// Posts to `url`, a source's own path included.
    ///
    /// # Errors
    /// The system has no root certificates.
    pub fn new(url: impl Into<String>) -> anyhow::Result<Self> {
        let url = url.into();
        // Where there is no TLS there need be no root certificates.
        let roots = if url.starts_with("https:") { Roots::System } else { Roots::Only(RootCertStore::empty()) };
        let connector = https::connector(roots, CONNECT_TIMEOUT)?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), url })
    }

    /// Posts one webhook.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn post(&self, webhook: &SignedWebhook) -> anyhow::Result<Answered> {
        let uri: Uri =
            self.address(webhook).parse().context("the bridge's address with the source's path is not a URL")?;
        let bridge = bridge_of(&uri);
        let mut request = Request::builder().method(Method::POST).uri(uri);
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(webhook.body.clone())).context("the sample is not a request")?;
        timeout(ANSWER_TIMEOUT, self.exchange(request, &bridge))
            .await
            .with_context(|| format!("{bridge} does not answer"))?
    }

    /// Where a webhook goes.
    pub fn address(&self, webhook: &SignedWebhook) -> String {
        webhook.address(&self.url)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, bridge: &str) -> anyhow::Result<Answered> {
        let response = self.client.request(request).await.with_context(|| format!("{bridge} cannot be reached"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer of {bridge} cannot be read: {error}"))?.to_bytes();
        Ok(Answered { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// As errors name it: a source's path may be a secret, and so may what stands before the host.
fn bridge_of(uri: &Uri) -> String {
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default())
}

/// The body of a plain GET that is answered 200.
pub async fn ok_body(url: &str) -> Option<String> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = timeout(ANSWER_TIMEOUT, client.get(url.parse().ok()?)).await.ok()?.ok()?;
    let is_ok = response.status() == StatusCode::OK;
    let body = timeout(ANSWER_TIMEOUT, response.into_body().collect()).await.ok()?.ok()?.to_bytes();
    is_ok.then(|| String::from_utf8_lossy(&body).into_owned())
}
