//! Proofs that need to look inside: what damage costs exactly, hostile structures under good seals, trees against a plain model.

mod anatomy;
mod damage;
mod elsewhere;
mod hostile;
mod leases;
mod races;
mod tree;
mod volume_reader;
