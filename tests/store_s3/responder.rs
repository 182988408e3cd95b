//! A tiny HTTP server that gives scripted answers and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Long enough for any client's time limit in these tests.
const SILENCE: Duration = Duration::from_secs(20);

/// Listens on a free port of 127.0.0.1 until the test process ends.
#[derive(Debug)]
pub(crate) struct Responder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Responder {
    /// Gives each request, on a connection of its own, the next of `answers`, and hangs up. An empty answer is silence.
    pub(crate) fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&requests);
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                shared.lock().unwrap().push(read_request(&stream));
                if answer.is_empty() {
                    thread::sleep(SILENCE);
                }
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { address, requests }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far: head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut body_length = 0;
    while !request.ends_with("\r\n\r\n") {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 {
            return request;
        }
        if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            body_length = length.trim().parse().unwrap();
        }
        request += &line;
    }
    let mut body = vec![0; body_length];
    reader.read_exact(&mut body).unwrap();
    request + &String::from_utf8_lossy(&body)
}
