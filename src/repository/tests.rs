//! Proofs that need to look inside: what damage costs exactly, hostile structures under good seals, trees against a plain model.

mod anatomy;
mod damage;
mod hostile;
mod leases;
mod point_reader;
mod races;
mod tree;
