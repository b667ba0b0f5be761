//! One connection, from accept to close: TLS, then hyper, until the client ends it or it is told to end.
//! Must not know what the requests mean, nor any time.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tracing::debug;

use super::activity::ConnectionActivity;
use super::requests::Requests;
use super::socket::Socket;
use super::{AnswerBody, ConnectionEvent, Peer, Server, WebService};

/// Serves one accepted connection until it ends.
pub(super) async fn run<S, B>(
    server: Arc<Server<S, B>>,
    stream: TcpStream,
    address: SocketAddr,
    activity: Arc<ConnectionActivity>,
) where
    S: WebService<B>,
    B: AnswerBody,
{
    let Some(acceptor) = &server.tls else {
        return http(&server, stream, Peer { address, client_certificate: None }, activity).await;
    };
    let shaken = tokio::select! {
        biased;
        // In a box: it is gone when the hands are shaken.
        shaken = Box::pin(acceptor.accept(stream)) => shaken,
        () = activity.told_end() => return,
    };
    match shaken {
        Err(error) => {
            (server.events)(ConnectionEvent::TlsFailed);
            debug!(%error, "TLS handshake failed");
        }
        Ok(stream) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let client_certificate = shown.map(|certificate| Arc::from(certificate.as_ref()));
            http(&server, stream, Peer { address, client_certificate }, activity).await;
        }
    }
}

/// Speaks HTTP, the version that the client chooses.
async fn http<S, B, I>(server: &Arc<Server<S, B>>, stream: I, peer: Peer, activity: Arc<ConnectionActivity>)
where
    S: WebService<B>,
    B: AnswerBody,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
    let requests = Requests { server: Arc::clone(server), peer, activity: Arc::clone(&activity) };
    let service = service_fn(move |request| requests.answer(request));
    // In a box: a connection without TLS does not take the room of one with it.
    let mut hyper = Box::pin(server.http.serve_connection(socket, service));
    // Biased by order: what came is a request before the connection is told to end, and is answered.
    let ended = tokio::select! {
        biased;
        ended = hyper.as_mut() => ended,
        () = activity.told_end() => {
            // HTTP/1.1 ends with the answer that is on its way, or at once where there is none; HTTP/2 tells its client
            // which requests it may send again elsewhere.
            hyper.as_mut().graceful_shutdown();
            hyper.await
        }
    };
    if let Err(error) = ended {
        // A client may end as it likes: worth counting only when what it sent was not HTTP.
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            (server.events)(ConnectionEvent::Malformed);
        }
        debug!(error, "a connection ended with an error");
    }
}
