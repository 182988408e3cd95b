//! Trees pieced together from models of damaged volumes.
