//! The sample upstream.

use airside_demo::upstream::Upstream;
use airside_demo::web;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::json as value;
use tokio::net::TcpStream;

use crate::browser::{get, json, send};

async fn upstream() -> String {
    let (listener, address) = web::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    tokio::spawn(Upstream::default().serve(listener));
    format!("http://{address}")
}

fn from(sub: &str, mut request: Request<Bytes>) -> Request<Bytes> {
    request
        .headers_mut()
        .append("x-forwarded-sub", sub.parse().unwrap());
    request
}

#[tokio::test]
async fn invoices_belong_to_the_forwarded_sub() {
    let origin = upstream().await;
    let create = Request::post("/api/invoices/")
        .body(Bytes::from_static(
            b"{\"customer\":\"Dormouse\",\"amount_cents\":100}",
        ))
        .unwrap();
    assert_eq!(
        send(&origin, from("alice", create)).await.status(),
        StatusCode::CREATED
    );
    let count = async |sub| {
        let list = json(&send(&origin, from(sub, get("/api/invoices/"))).await);
        list["invoices"].as_array().unwrap().len()
    };
    assert_eq!((count("alice").await, count("bob").await), (4, 3));
    for nobody in [
        get("/api/invoices/"),
        from("bob", from("alice", get("/api/invoices/"))),
    ] {
        assert_eq!(
            send(&origin, nobody).await.status(),
            StatusCode::UNAUTHORIZED
        );
    }
}

#[tokio::test]
async fn echo_tells_what_arrived() {
    let origin = upstream().await;
    let request = Request::put("/api/invoices/echo?a=b")
        .header("x-one", "1")
        .header("x-one", "2")
        .body(Bytes::from_static(b"abc"))
        .unwrap();
    let echoed = json(&send(&origin, request).await);
    assert_eq!(echoed["body_bytes"], 3);
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(echoed["body_sha256"], sha256);
    let received = &echoed["received"];
    assert_eq!(
        (&received["method"], &received["query"]),
        (&value!("PUT"), &value!("a=b"))
    );
    let headers = received["headers"].as_array().unwrap();
    let ones: Vec<_> = headers.iter().filter(|pair| pair[0] == "x-one").collect();
    assert_eq!(ones, [&value!(["x-one", "1"]), &value!(["x-one", "2"])]);
}

#[tokio::test]
async fn a_slow_stream_holds_its_second_chunk_until_released() {
    let origin = upstream().await;
    let stream = TcpStream::connect(origin.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("/api/invoices/slow-stream?id=a")
        .header(header::HOST, "upstream")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first\n");
    send(&origin, get("/api/invoices/release?id=a")).await;
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, "second\n");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn big_is_as_long_as_asked_both_ways() {
    let origin = upstream().await;
    let known = send(&origin, get("/api/invoices/big?bytes=40000")).await;
    assert_eq!(known.headers()[header::CONTENT_LENGTH], "40000");
    let chunked = send(&origin, get("/api/invoices/big?bytes=40000&chunked=1")).await;
    assert!(!chunked.headers().contains_key(header::CONTENT_LENGTH));
    assert_eq!((known.body().len(), chunked.body().len()), (40_000, 40_000));
}

#[tokio::test]
async fn pages_escape_what_they_show() {
    let origin = upstream().await;
    let mut request = from("<b>alice</b>", get("/invoices"));
    request
        .headers_mut()
        .insert("x-one", "\"<script>".parse().unwrap());
    let page = send(&origin, request).await;
    let text = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(text.contains("&lt;b&gt;alice&lt;/b&gt;") && text.contains("&quot;&lt;script&gt;"));
    assert!(!text.contains("<b>") && !text.contains("<script>"));
    assert_eq!(
        send(&origin, get("/invoices")).await.status(),
        StatusCode::UNAUTHORIZED
    );
}
