//! Tests of journal replay.
