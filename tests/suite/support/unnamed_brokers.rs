//! Stands before a node of Kafka, and lets its answers name no broker for a while, as those of a cluster do whose brokers are all
//! fenced at one moment. Until then its answers name this place, so that clients stay with it.
//! Must not know what a client is for.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::{Buf, BufMut};
use prost::encoding::{decode_varint, encode_varint};

/// Kafka's numbers for questions whose answers have addresses, and the versions of these that are understood.
const METADATA: i16 = 3;
const METADATA_VERSIONS: RangeInclusive<i16> = 10..=13;
const FIND_COORDINATOR: i16 = 10;
const FIND_COORDINATOR_VERSIONS: RangeInclusive<i16> = 1..=2;
/// So many topics that nobody asked for stand in an answer that names no broker. librdkafka reads them after it has given up its
/// brokers, which takes as long as the many topics of a real cluster do.
const FILLERS: u64 = 20_000;

/// What stands before the node. It ends with the tests.
pub struct UnnamedBrokers(Arc<State>);

struct State {
    node: String,
    port: u16,
    names_none: AtomicBool,
    /// Answers that named none.
    answers: AtomicUsize,
    /// Connections of clients.
    open: Mutex<Vec<TcpStream>>,
}

/// One connection of a client, and the one to the node that belongs to it.
struct Relay {
    client: TcpStream,
    node: TcpStream,
    state: Arc<State>,
    /// Questions whose answers have addresses: what each asked, and in which version, by its number.
    asked: Mutex<HashMap<i32, (i16, i16)>>,
}

impl UnnamedBrokers {
    /// Before the node that listens at this address.
    pub fn before(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(State {
            node: node.to_owned(),
            port: listener.local_addr().unwrap().port(),
            names_none: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let this = Self(Arc::clone(&state));
        thread::spawn(move || {
            for client in listener.incoming() {
                relay(client.unwrap(), &state);
            }
        });
        this
    }

    /// Where clients find it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// From now on no broker is named. Connections are closed, so that clients ask.
    pub fn name_none(&self) {
        self.0.names_none.store(true, Ordering::SeqCst);
        for connection in self.0.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }

    /// All are named again.
    pub fn name_all(&self) {
        self.0.names_none.store(false, Ordering::SeqCst);
    }

    /// How many answers named none.
    pub fn answers(&self) -> usize {
        self.0.answers.load(Ordering::SeqCst)
    }
}

/// Takes a connection on, until one side closes it.
fn relay(client: TcpStream, state: &Arc<State>) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        // Without a node there is no answer.
        let Ok(node) = TcpStream::connect(&state.node) else { return };
        state.open.lock().unwrap().push(client.try_clone().unwrap());
        let relay = Arc::new(Relay { client, node, state, asked: Mutex::default() });
        let answers = Arc::clone(&relay);
        let answering = thread::spawn(move || answers.pass_answers());
        relay.pass_questions();
        answering.join().unwrap();
    });
}

impl Relay {
    fn pass_questions(&self) {
        while let Ok(question) = frame(&self.client) {
            let mut header = question.as_slice();
            let (key, version, number) = (header.get_i16(), header.get_i16(), header.get_i32());
            if [METADATA, FIND_COORDINATOR].contains(&key) {
                self.asked.lock().unwrap().insert(number, (key, version));
            }
            if send(&self.node, &question).is_err() {
                break;
            }
        }
        self.close();
    }

    fn pass_answers(&self) {
        while let Ok(mut answer) = frame(&self.node) {
            let number = answer.as_slice().get_i32();
            let asked = self.asked.lock().unwrap().remove(&number);
            match asked {
                Some((METADATA, version)) => {
                    let names_none = self.state.names_none.load(Ordering::SeqCst);
                    answer = metadata(&answer, version, (!names_none).then_some(self.state.port));
                    self.state.answers.fetch_add(usize::from(names_none), Ordering::SeqCst);
                }
                Some((FIND_COORDINATOR, version)) => put_last_port(&mut answer, version, self.state.port),
                _ => {}
            }
            if send(&self.client, &answer).is_err() {
                break;
            }
        }
        self.close();
    }

    fn close(&self) {
        for side in [&self.client, &self.node] {
            // The other direction may have closed it.
            let _closed = side.shutdown(Shutdown::Both);
        }
    }
}

/// The answer with this port for each broker; or, without a port, as a cluster gives it whose brokers are all fenced: with topics, and
/// no brokers.
fn metadata(answer: &[u8], version: i16, port: Option<u16>) -> Vec<u8> {
    assert!(METADATA_VERSIONS.contains(&version), "metadata of version {version}");
    let mut rest = answer;
    rest.advance(4); // the question's number
    skip_tags(&mut rest);
    rest.advance(4); // how long the client is to wait
    let mut other = answer[..answer.len() - rest.len()].to_vec();
    let brokers = length(&mut rest);
    encode_varint(port.map_or(0, |_| brokers) + 1, &mut other); // each length stands there plus one
    for _ in 0..brokers {
        let address = passed(&mut rest, |rest| {
            rest.advance(4); // its id
            skip_text(rest);
        });
        rest.advance(4); // its port
        let rack = passed(&mut rest, |rest| {
            skip_text(rest);
            skip_tags(rest);
        });
        if let Some(port) = port {
            other.extend_from_slice(address);
            other.put_i32(port.into());
            other.extend_from_slice(rack);
        }
    }
    other.extend_from_slice(passed(&mut rest, |rest| {
        skip_text(rest); // the cluster's id
        rest.advance(4); // the controller
    }));
    let topics = length(&mut rest);
    let fillers = if port.is_some() { 0 } else { FILLERS };
    encode_varint(topics + fillers + 1, &mut other);
    for number in 0..fillers {
        put_missing_topic(&mut other, &format!("nobody-asked-for-{number}"));
    }
    other.extend_from_slice(rest);
    other
}

/// The port is the last thing in the answer.
fn put_last_port(answer: &mut Vec<u8>, version: i16, port: u16) {
    assert!(FIND_COORDINATOR_VERSIONS.contains(&version), "a coordinator's address of version {version}");
    answer.truncate(answer.len() - 4);
    answer.put_i32(port.into());
}

fn put_missing_topic(answer: &mut Vec<u8>, name: &str) {
    answer.put_i16(3); // UNKNOWN_TOPIC_OR_PARTITION
    encode_varint(u64::try_from(name.len() + 1).unwrap(), answer);
    answer.extend_from_slice(name.as_bytes());
    answer.put_u128(0); // its id
    answer.put_u8(0); // it is not internal
    encode_varint(1, answer); // no partitions
    answer.put_i32(i32::MIN); // no rights are told
    encode_varint(0, answer);
}

/// What `pass` passes.
fn passed<'a>(rest: &mut &'a [u8], pass: impl FnOnce(&mut &'a [u8])) -> &'a [u8] {
    let before = *rest;
    pass(rest);
    &before[..before.len() - rest.len()]
}

fn length(rest: &mut &[u8]) -> u64 {
    decode_varint(rest).unwrap().saturating_sub(1)
}

fn skip_text(rest: &mut &[u8]) {
    let bytes = length(rest);
    rest.advance(usize::try_from(bytes).unwrap());
}

fn skip_tags(rest: &mut &[u8]) {
    for _ in 0..decode_varint(rest).unwrap() {
        decode_varint(rest).unwrap();
        let bytes = decode_varint(rest).unwrap();
        rest.advance(usize::try_from(bytes).unwrap());
    }
}

fn frame(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

fn send(mut to: &TcpStream, frame: &[u8]) -> io::Result<()> {
    let mut message = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    message.extend_from_slice(frame);
    to.write_all(&message)
}
