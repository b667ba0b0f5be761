//! What this program is when it is measured itself: a bare HTTP server that is nothing but the floor or the echo.
//! Must not know the daemon, nor who sends.

mod check;
mod floor;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use floor::Floor;

/// As long as the daemon's own.
const ANSWER: &str = r#"{"status":"accepted","event_id":"0123456789abcdef0123456789abcdef"}"#;

/// How this program is told its role. It ends with its starter.
#[derive(Parser)]
pub struct Arguments {
    /// Which role.
    #[arg(long)]
    role: Role,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Where Kafka is.
    #[arg(long)]
    bootstrap: String,
    /// Where its records go.
    #[arg(long)]
    topic: String,
    /// Whose signatures are checked.
    #[arg(long)]
    provider: String,
    /// How long a record waits for others to share its request.
    #[arg(long)]
    linger_ms: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Floor,
    Echo,
}

/// Serves until it is killed.
pub fn run(arguments: &Arguments) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match arguments.role {
            Role::Echo => serve(arguments.listen, Arc::new(echo)).await,
            Role::Floor => {
                let floor = Arc::new(Floor::new(arguments).await);
                serve(arguments.listen, Arc::new(move |headers, body| Arc::clone(&floor).take(headers, body))).await;
            }
        }
    });
}

async fn echo(_headers: HeaderMap, _body: Bytes) -> StatusCode {
    StatusCode::OK
}

/// Reads each request whole, and answers with the status that `handle` gives.
async fn serve<H, F>(address: SocketAddr, handle: Arc<H>)
where
    H: Fn(HeaderMap, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = StatusCode> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let handle = Arc::clone(&handle);
        let service = service_fn(move |request: Request<Incoming>| {
            let handle = Arc::clone(&handle);
            async move {
                let (head, body) = request.into_parts();
                let status = match body.collect().await {
                    Ok(body) => handle(head.headers, body.to_bytes()).await,
                    Err(_broken) => StatusCode::BAD_REQUEST,
                };
                let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
                *response.status_mut() = status;
                response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            // It ends with its client.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
