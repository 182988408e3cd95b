//! Seams for tests: simulated time and randomness, real servers and devices that clean up after themselves. Never shipped.

pub mod manual_clock;
pub mod s3_server;
pub mod seeded_entropy;
