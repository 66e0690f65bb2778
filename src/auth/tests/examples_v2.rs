//! AWS's examples of Signature Version 2, page "Signing and authenticating REST requests".

use super::*;

/// Signs nothing itself: the requests carry the published signatures.
fn assert_example(request: &str, bucket: Option<&str>) {
    let head = head(request);
    // The one without a date is presigned until this second.
    let now = date(&head).map_or(1_175_139_620_000, |(_, moment)| moment);
    let payload = assert_signed(&head, now, bucket, request);
    assert!(matches!(payload, PayloadPromise::Unsigned));
}

#[test]
fn objects_buckets_and_the_service() {
    let johnsmith = Some("johnsmith");
    for (request, bucket) in [
        (
            "GET /photos/puppy.jpg\nHost: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
            johnsmith,
        ),
        (
            "PUT /photos/puppy.jpg\nContent-Type: image/jpeg\nContent-Length: 94328\n\
             Host: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 21:15:45 +0000\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:MyyxeRY7whkBe+bq8fHCL/2kKUg=",
            johnsmith,
        ),
        (
            "GET /?prefix=photos&max-keys=50&marker=puppy\nUser-Agent: Mozilla/5.0\n\
             Host: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 19:42:41 +0000\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:htDYFYduRNen8P9ZfE/s9SuKy0U=",
            johnsmith,
        ),
        (
            "GET /?acl\nHost: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 19:44:46 +0000\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:c2WLPFtWHVgbEmeEG93a4cG37dM=",
            johnsmith,
        ),
        (
            "GET /\nHost: s3.amazonaws.com\nDate: Wed, 28 Mar 2007 01:29:59 +0000\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:qGdzdERIC03wnaRNKh6OqZehG9s=",
            None,
        ),
        (
            "GET /dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re\nHost: s3.amazonaws.com\n\
             Date: Wed, 28 Mar 2007 01:49:49 +0000\n\
             Authorization: AWS AKIAIOSFODNN7EXAMPLE:DNEZGsoieTZ92F3bUfSPQcbGmlM=",
            None,
        ),
    ] {
        assert_example(request, bucket);
    }
}

#[test]
fn upload_with_metadata_to_a_bucket_named_by_its_domain() {
    assert_example(
        "PUT /db-backup.dat.gz\nUser-Agent: curl/7.15.5\nHost: static.johnsmith.net:8080\n\
         Date: Tue, 27 Mar 2007 21:06:08 +0000\nx-amz-acl: public-read\n\
         content-type: application/x-download\nContent-MD5: 4gJE4saaMU4BqNR0kLY+lw==\n\
         X-Amz-Meta-ReviewedBy: joe@johnsmith.net\nX-Amz-Meta-ReviewedBy: jane@johnsmith.net\n\
         X-Amz-Meta-FileChecksum: 0x02661779\nX-Amz-Meta-ChecksumAlgorithm: crc32\n\
         Content-Disposition: attachment; filename=database.dat\nContent-Encoding: gzip\n\
         Content-Length: 5913339\n\
         Authorization: AWS AKIAIOSFODNN7EXAMPLE:ilyl83RwaSoYIEdixDQcA4OnAnc=",
        Some("static.johnsmith.net"),
    );
}

#[test]
fn query_string_authentication() {
    assert_example(
        "GET /photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE\
         &Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620\n\
         Host: johnsmith.s3.amazonaws.com",
        Some("johnsmith"),
    );
}

/// The page's DELETE example signs the value of x-amz-date in the place of Date and leaves it out of the
/// headers; its text, and all clients, say that the place is empty and the header is signed by its name. The
/// published signature belongs to a request that sent the same time as Date.
#[test]
fn an_x_amz_date_is_signed_as_a_header_and_replaces_the_date() {
    assert_example(
        "DELETE /awsexamplebucket1/photos/puppy.jpg\nHost: s3.us-west-1.amazonaws.com\n\
         Date: Tue, 27 Mar 2007 21:20:26 +0000\n\
         Authorization: AWS AKIAIOSFODNN7EXAMPLE:XbyTlbQdu9Xw5o8P4iMwPktxQd8=",
        None,
    );
    // By Python's hmac over the string that the page's text describes.
    assert_example(
        "DELETE /awsexamplebucket1/photos/puppy.jpg\nHost: s3.us-west-1.amazonaws.com\n\
         Date: Tue, 27 Mar 2007 21:20:27 +0000\nx-amz-date: Tue, 27 Mar 2007 21:20:26 +0000\n\
         Authorization: AWS AKIAIOSFODNN7EXAMPLE:Ri1hpB1zpS9pGqR7y8kuNFCl4sE=",
        None,
    );
}
