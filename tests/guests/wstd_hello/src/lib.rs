//! A component that answers requests, as the page of wstd begins with one.
#![cfg(target_arch = "wasm32")] // what it exports has names that no other linker takes

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::new("Hello, wasi:http/proxy world!\n".into()))
}
