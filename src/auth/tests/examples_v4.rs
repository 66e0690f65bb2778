//! AWS's examples of Signature Version 4: pages "Signature calculations for the Authorization header" (single
//! chunk, multiple chunks, trailing headers) and "Authenticating requests: using query parameters".

use super::*;
use crate::auth::keys::hex;
use crate::hash::sha256;

fn authorization(signed_headers: &str, signature: &str) -> String {
    format!(
        "Authorization: AWS4-HMAC-SHA256 Credential={ID}/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed_headers},Signature={signature}"
    )
}

#[test]
fn get_object_with_a_range() {
    let text = format!(
        "GET /test.txt\nHost: examplebucket.s3.amazonaws.com\n{}\nRange: bytes=0-9\n\
         x-amz-content-sha256:{EMPTY_SHA256}\nx-amz-date: 20130524T000000Z",
        authorization(
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        )
    );
    let payload = assert_signed(&head(&text), EXAMPLE_MS, Some("examplebucket"), "get");
    assert!(matches!(payload, PayloadPromise::Sha256(digest) if digest == sha256(b"")));
}

#[test]
fn put_object_with_a_date_header_and_an_escaped_key() {
    let text = format!(
        "PUT /test$file.text\nHost: examplebucket.s3.amazonaws.com\nDate: Fri, 24 May 2013 00:00:00 GMT\n{}\n\
         x-amz-date: 20130524T000000Z\nx-amz-storage-class: REDUCED_REDUNDANCY\n\
         x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        authorization(
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        )
    );
    let payload = assert_signed(&head(&text), EXAMPLE_MS, Some("examplebucket"), "put");
    assert!(matches!(payload, PayloadPromise::Sha256(digest) if digest == sha256(b"Welcome to Amazon S3.")));
}

#[test]
fn get_bucket_lifecycle_and_list_objects() {
    for (target, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let text = format!(
            "GET {target}\nHost: examplebucket.s3.amazonaws.com\n{}\nx-amz-date: 20130524T000000Z\n\
             x-amz-content-sha256:{EMPTY_SHA256}",
            authorization("host;x-amz-content-sha256;x-amz-date", signature)
        );
        assert_signed(&head(&text), EXAMPLE_MS, Some("examplebucket"), target);
    }
}

#[test]
fn presigned_get_object() {
    let text = "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
                &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404\n\
                Host: examplebucket.s3.amazonaws.com";
    let payload = assert_signed(&head(text), EXAMPLE_MS + 86_400_000, None, "presigned");
    assert!(matches!(payload, PayloadPromise::Unsigned));
}

/// 66,560 bytes of `a` in chunks of 64 KiB, 1 KiB and nothing.
fn chunk_digests() -> [[u8; 32]; 3] {
    [sha256(&[b'a'; 65_536]), sha256(&[b'a'; 1024]), sha256(b"")]
}

#[test]
fn chunked_upload() {
    let text = format!(
        "PUT /examplebucket/chunkObject.txt\nHost: s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n\
         x-amz-storage-class: REDUCED_REDUNDANCY\n{}\n\
         x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\nContent-Encoding: aws-chunked\n\
         x-amz-decoded-content-length: 66560\nContent-Length: 66824",
        authorization(
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
             x-amz-decoded-content-length;x-amz-storage-class",
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
        )
    );
    let payload = assert_signed(&head(&text), EXAMPLE_MS, None, "chunked");
    let PayloadPromise::SignedChunks(mut signer) = payload else { panic!("{payload:?}") };
    let signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ];
    for (digest, signature) in chunk_digests().iter().zip(signatures) {
        assert!(!signer.verify_chunk(&sha256(b"other bytes"), signature.as_bytes()));
        assert!(!signer.verify_chunk(digest, &signature.as_bytes()[..63]));
        assert!(signer.verify_chunk(digest, signature.as_bytes()));
        assert!(!signer.verify_chunk(digest, signature.as_bytes()), "a chunk must not be replayed");
    }
}

#[test]
fn chunked_upload_with_a_trailer() {
    let text = format!(
        "PUT /examplebucket/chunkObject.txt\nHost: s3.amazonaws.com\nx-amz-date: 20130524T000000Z\n\
         x-amz-storage-class: REDUCED_REDUNDANCY\n{}\n\
         x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\nContent-Encoding: aws-chunked\n\
         x-amz-decoded-content-length: 66560\nx-amz-trailer: x-amz-checksum-crc32c\nContent-Length: 66824",
        authorization(
            "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;\
             x-amz-storage-class;x-amz-trailer",
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
        )
    );
    let payload = assert_signed(&head(&text), EXAMPLE_MS, None, "trailer");
    let PayloadPromise::SignedChunksTrailer(mut signer) = payload else { panic!("{payload:?}") };
    let signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    for (digest, signature) in chunk_digests().iter().zip(signatures) {
        assert!(signer.verify_chunk(digest, signature.as_bytes()));
    }
    let trailer = |value: &str| [("x-amz-checksum-crc32c".to_owned(), value.as_bytes().to_vec())];
    let signature = b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    assert!(!signer.verify_trailer(&trailer("sOO8/Q=="), b"63bddb"));
    assert!(!signer.verify_trailer(&trailer("AAAAAA=="), signature));
    assert!(signer.verify_trailer(&trailer("sOO8/Q=="), signature));
}

#[test]
fn the_client_signs_the_chunks_that_the_examples_show() {
    let mut request = head(
        "PUT /examplebucket/chunkObject.txt\nHost: s3.amazonaws.com\n\
         x-amz-storage-class: REDUCED_REDUNDANCY\nContent-Encoding: aws-chunked\n\
         x-amz-decoded-content-length: 66560\nContent-Length: 66824",
    );
    let credentials = sign::Credentials { id: ID, secret: SECRET, region: "us-east-1" };
    let mut signer =
        sign::sign_v4(&mut request, credentials, EXAMPLE_MS, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    assert!(request.text("authorization").unwrap().ends_with("153f7db9fa80a0a9"));
    let last = chunk_digests().map(|digest| signer.sign_chunk(&digest))[2];
    assert_eq!(&last, b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    assert_eq!(hex(&sha256(b"")), EMPTY_SHA256.as_bytes());
}
