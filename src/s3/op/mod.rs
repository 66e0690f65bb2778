//! One file for each operation (operations that differ only in what they name share one).
//!
//! Every operation is a function `run(service, request, body)` that consumes an
//! [`Authorized`](crate::s3::access::Authorized) request and answers a response or an error.

pub mod delete_object;
