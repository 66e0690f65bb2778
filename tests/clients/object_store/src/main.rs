//! Runs the integration suite that the `object_store` crate offers to implementations through its S3 client
//! against the node at `AWS_ENDPOINT_URL`, in the bucket `object-store`; a failed check panics.

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut, S3CopyIfNotExists};
use object_store::integration::*;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload};

fn builder() -> AmazonS3Builder {
    AmazonS3Builder::from_env()
        .with_bucket_name("object-store")
        .with_allow_http(true)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
}

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    whole_suite().await;
    for (what, builder) in [
        ("unsigned payload", builder().with_unsigned_payload(true)),
        ("SHA-256 checksums", builder().with_checksum_algorithm(Checksum::SHA256)),
        ("CRC-64/NVME checksums", builder().with_checksum_algorithm(Checksum::CRC64NVME)),
    ] {
        println!("put, get, delete, list: {what}");
        put_get_delete_list(&builder.build().unwrap()).await;
    }
    // The other way to copy only where nothing is: a condition on CopyObject's destination.
    let header = S3CopyIfNotExists::Header("if-none-match".to_owned(), "*".to_owned());
    println!("copy if not exists, by header");
    copy_if_not_exists(&builder().with_copy_if_not_exists(header).build().unwrap()).await;
    what_is_absent_is_not_found().await;
}

async fn whole_suite() {
    let store: AmazonS3 = builder().build().unwrap();
    // In the crate's own order: some of these expect the bucket as the ones before leave it.
    println!("put, get, delete, list");
    put_get_delete_list(&store).await;
    println!("list with offset");
    list_with_offset_exclusivity(&store).await;
    println!("get options");
    get_opts(&store).await;
    println!("list uses directories correctly");
    list_uses_directories_correctly(&store).await;
    println!("list with delimiter");
    list_with_delimiter(&store).await;
    println!("rename and copy");
    rename_and_copy(&store).await;
    println!("copy and rename what is absent");
    copy_rename_nonexistent_object(&store).await;
    println!("stream get");
    stream_get(&store).await;
    println!("multipart");
    multipart(&store, &store).await;
    multipart_with_opts(&store, &store).await;
    multipart_put_part_out_of_order(&store, &store).await;
    multipart_race_condition(&store, true).await;
    multipart_out_of_order(&store).await;
    println!("attributes");
    put_get_attributes(&store).await;
    println!("list pages");
    list_paginated(&store, &store).await;
    println!("copy if not exists");
    copy_if_not_exists(&store).await;
    println!("put options");
    put_opts(&store, true).await;
}

async fn what_is_absent_is_not_found() {
    println!("what is absent is not found");
    let absent = Path::from("absent");
    let store = builder().build().unwrap();
    let got = get_nonexistent_object(&store, Some(absent.clone())).await;
    assert!(matches!(got, Err(Error::NotFound { .. })), "{got:?}");
    store.delete(&absent).await.unwrap();
    let store = builder().with_bucket_name("absent-bucket").build().unwrap();
    let got = store.get(&absent).await;
    assert!(matches!(got, Err(Error::NotFound { .. })), "{got:?}");
    let put = store.put(&absent, PutPayload::from("data")).await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    let deleted = store.delete(&absent).await;
    assert!(matches!(deleted, Err(Error::NotFound { .. })), "{deleted:?}");
}
