//! From a request to the operation it asks for: one table of all operations of S3 and one pure function.

use crate::auth::policy::action::Action;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;

/// What an operation is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Service,
    Bucket,
    Object,
}

impl Level {
    /// Text of `ResourceType` in error documents.
    pub fn resource_type(self) -> &'static str {
        match self {
            Self::Service => "SERVICE",
            Self::Bucket => "BUCKET",
            Self::Object => "OBJECT",
        }
    }
}

/// What a request must carry, beside method and level, to mean an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A query parameter, with or without a value.
    Query(&'static str),
    /// A query parameter with this value.
    Value(&'static str, &'static str),
    /// A header.
    Header(&'static str),
}

/// Whether this node carries an operation out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Served,
    /// A setting that cannot be set: answered as AWS answers for what never set it.
    Fixed,
    /// Answered with `501 NotImplemented`.
    Absent,
}

/// A row of the table of operations.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub operation: Operation,
    pub method: &'static str,
    pub level: Level,
    pub marks: &'static [Mark],
    /// Name of the permission in policies, as in AWS's service authorization reference.
    pub action: Action,
    pub support: Support,
}

macro_rules! operations {
    ($($name:ident $method:literal $level:ident [$($mark:expr),*] $action:literal $support:ident;)*) => {
        /// The operations of the Amazon S3 API Reference, by their names there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($name,)*
        }

        /// All operations, and `PostObject`, the browser's form upload. The first row whose method, level
        /// and marks a request has is what it means, so rows with more marks stand before those with fewer.
        pub const TABLE: &[Row] = &[
            $(Row {
                operation: Operation::$name,
                method: $method,
                level: Level::$level,
                marks: &[$($mark),*],
                action: Action::named($action),
                support: Support::$support,
            },)*
        ];

        impl Operation {
            /// Its name in the API reference and in botocore.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

use Mark::{Header, Query, Value};

operations! {
    // The service.
    ListBuckets "GET" Service [] "s3:ListAllMyBuckets" Served;
    // Buckets.
    DeleteBucketAnalyticsConfiguration "DELETE" Bucket [Query("analytics")] "s3:PutAnalyticsConfiguration" Absent;
    DeleteBucketCors "DELETE" Bucket [Query("cors")] "s3:PutBucketCORS" Served;
    DeleteBucketEncryption "DELETE" Bucket [Query("encryption")] "s3:PutEncryptionConfiguration" Served;
    DeleteBucketIntelligentTieringConfiguration "DELETE" Bucket [Query("intelligent-tiering")] "s3:PutIntelligentTieringConfiguration" Absent;
    DeleteBucketInventoryConfiguration "DELETE" Bucket [Query("inventory")] "s3:PutInventoryConfiguration" Absent;
    DeleteBucketLifecycle "DELETE" Bucket [Query("lifecycle")] "s3:PutLifecycleConfiguration" Served;
    DeleteBucketMetadataConfiguration "DELETE" Bucket [Query("metadataConfiguration")] "s3:DeleteBucketMetadataTableConfiguration" Absent;
    DeleteBucketMetadataTableConfiguration "DELETE" Bucket [Query("metadataTable")] "s3:DeleteBucketMetadataTableConfiguration" Absent;
    DeleteBucketMetricsConfiguration "DELETE" Bucket [Query("metrics")] "s3:PutMetricsConfiguration" Absent;
    DeleteBucketOwnershipControls "DELETE" Bucket [Query("ownershipControls")] "s3:PutBucketOwnershipControls" Served;
    DeleteBucketPolicy "DELETE" Bucket [Query("policy")] "s3:DeleteBucketPolicy" Served;
    DeleteBucketReplication "DELETE" Bucket [Query("replication")] "s3:PutReplicationConfiguration" Absent;
    DeleteBucketTagging "DELETE" Bucket [Query("tagging")] "s3:PutBucketTagging" Served;
    DeleteBucketWebsite "DELETE" Bucket [Query("website")] "s3:DeleteBucketWebsite" Absent;
    DeletePublicAccessBlock "DELETE" Bucket [Query("publicAccessBlock")] "s3:PutBucketPublicAccessBlock" Served;
    DeleteBucket "DELETE" Bucket [] "s3:DeleteBucket" Served;
    GetBucketAnalyticsConfiguration "GET" Bucket [Query("analytics"), Query("id")] "s3:GetAnalyticsConfiguration" Absent;
    GetBucketIntelligentTieringConfiguration "GET" Bucket [Query("intelligent-tiering"), Query("id")] "s3:GetIntelligentTieringConfiguration" Absent;
    GetBucketInventoryConfiguration "GET" Bucket [Query("inventory"), Query("id")] "s3:GetInventoryConfiguration" Absent;
    GetBucketMetricsConfiguration "GET" Bucket [Query("metrics"), Query("id")] "s3:GetMetricsConfiguration" Absent;
    CreateSession "GET" Bucket [Query("session")] "s3express:CreateSession" Absent;
    GetBucketAbac "GET" Bucket [Query("abac")] "s3:GetBucketAbac" Absent;
    GetBucketAccelerateConfiguration "GET" Bucket [Query("accelerate")] "s3:GetAccelerateConfiguration" Fixed;
    GetBucketAcl "GET" Bucket [Query("acl")] "s3:GetBucketAcl" Served;
    GetBucketCors "GET" Bucket [Query("cors")] "s3:GetBucketCORS" Served;
    GetBucketEncryption "GET" Bucket [Query("encryption")] "s3:GetEncryptionConfiguration" Served;
    GetBucketLifecycleConfiguration "GET" Bucket [Query("lifecycle")] "s3:GetLifecycleConfiguration" Served;
    GetBucketLocation "GET" Bucket [Query("location")] "s3:GetBucketLocation" Served;
    GetBucketLogging "GET" Bucket [Query("logging")] "s3:GetBucketLogging" Fixed;
    GetBucketMetadataConfiguration "GET" Bucket [Query("metadataConfiguration")] "s3:GetBucketMetadataTableConfiguration" Absent;
    GetBucketMetadataTableConfiguration "GET" Bucket [Query("metadataTable")] "s3:GetBucketMetadataTableConfiguration" Absent;
    GetBucketNotificationConfiguration "GET" Bucket [Query("notification")] "s3:GetBucketNotification" Served;
    GetBucketOwnershipControls "GET" Bucket [Query("ownershipControls")] "s3:GetBucketOwnershipControls" Served;
    GetBucketPolicy "GET" Bucket [Query("policy")] "s3:GetBucketPolicy" Served;
    GetBucketPolicyStatus "GET" Bucket [Query("policyStatus")] "s3:GetBucketPolicyStatus" Served;
    GetBucketReplication "GET" Bucket [Query("replication")] "s3:GetReplicationConfiguration" Fixed;
    GetBucketRequestPayment "GET" Bucket [Query("requestPayment")] "s3:GetBucketRequestPayment" Served;
    GetBucketTagging "GET" Bucket [Query("tagging")] "s3:GetBucketTagging" Served;
    GetBucketVersioning "GET" Bucket [Query("versioning")] "s3:GetBucketVersioning" Served;
    GetBucketWebsite "GET" Bucket [Query("website")] "s3:GetBucketWebsite" Fixed;
    GetObjectLockConfiguration "GET" Bucket [Query("object-lock")] "s3:GetBucketObjectLockConfiguration" Served;
    GetPublicAccessBlock "GET" Bucket [Query("publicAccessBlock")] "s3:GetBucketPublicAccessBlock" Served;
    ListBucketAnalyticsConfigurations "GET" Bucket [Query("analytics")] "s3:GetAnalyticsConfiguration" Absent;
    ListBucketIntelligentTieringConfigurations "GET" Bucket [Query("intelligent-tiering")] "s3:GetIntelligentTieringConfiguration" Absent;
    ListBucketInventoryConfigurations "GET" Bucket [Query("inventory")] "s3:GetInventoryConfiguration" Absent;
    ListBucketMetricsConfigurations "GET" Bucket [Query("metrics")] "s3:GetMetricsConfiguration" Absent;
    ListMultipartUploads "GET" Bucket [Query("uploads")] "s3:ListBucketMultipartUploads" Served;
    ListObjectVersions "GET" Bucket [Query("versions")] "s3:ListBucketVersions" Served;
    ListObjectsV2 "GET" Bucket [Value("list-type", "2")] "s3:ListBucket" Served;
    ListObjects "GET" Bucket [] "s3:ListBucket" Served;
    HeadBucket "HEAD" Bucket [] "s3:ListBucket" Served;
    CreateBucketMetadataConfiguration "POST" Bucket [Query("metadataConfiguration")] "s3:CreateBucketMetadataTableConfiguration" Absent;
    CreateBucketMetadataTableConfiguration "POST" Bucket [Query("metadataTable")] "s3:CreateBucketMetadataTableConfiguration" Absent;
    DeleteObjects "POST" Bucket [Query("delete")] "s3:DeleteObject" Served;
    PostObject "POST" Bucket [] "s3:PutObject" Served;
    PutBucketAbac "PUT" Bucket [Query("abac")] "s3:PutBucketAbac" Absent;
    PutBucketAccelerateConfiguration "PUT" Bucket [Query("accelerate")] "s3:PutAccelerateConfiguration" Absent;
    PutBucketAcl "PUT" Bucket [Query("acl")] "s3:PutBucketAcl" Served;
    PutBucketAnalyticsConfiguration "PUT" Bucket [Query("analytics")] "s3:PutAnalyticsConfiguration" Absent;
    PutBucketCors "PUT" Bucket [Query("cors")] "s3:PutBucketCORS" Served;
    PutBucketEncryption "PUT" Bucket [Query("encryption")] "s3:PutEncryptionConfiguration" Served;
    PutBucketIntelligentTieringConfiguration "PUT" Bucket [Query("intelligent-tiering")] "s3:PutIntelligentTieringConfiguration" Absent;
    PutBucketInventoryConfiguration "PUT" Bucket [Query("inventory")] "s3:PutInventoryConfiguration" Absent;
    PutBucketLifecycleConfiguration "PUT" Bucket [Query("lifecycle")] "s3:PutLifecycleConfiguration" Served;
    PutBucketLogging "PUT" Bucket [Query("logging")] "s3:PutBucketLogging" Absent;
    PutBucketMetricsConfiguration "PUT" Bucket [Query("metrics")] "s3:PutMetricsConfiguration" Absent;
    PutBucketNotificationConfiguration "PUT" Bucket [Query("notification")] "s3:PutBucketNotification" Served;
    PutBucketOwnershipControls "PUT" Bucket [Query("ownershipControls")] "s3:PutBucketOwnershipControls" Served;
    PutBucketPolicy "PUT" Bucket [Query("policy")] "s3:PutBucketPolicy" Served;
    PutBucketReplication "PUT" Bucket [Query("replication")] "s3:PutReplicationConfiguration" Absent;
    PutBucketRequestPayment "PUT" Bucket [Query("requestPayment")] "s3:PutBucketRequestPayment" Served;
    PutBucketTagging "PUT" Bucket [Query("tagging")] "s3:PutBucketTagging" Served;
    PutBucketVersioning "PUT" Bucket [Query("versioning")] "s3:PutBucketVersioning" Served;
    PutBucketWebsite "PUT" Bucket [Query("website")] "s3:PutBucketWebsite" Absent;
    PutObjectLockConfiguration "PUT" Bucket [Query("object-lock")] "s3:PutBucketObjectLockConfiguration" Served;
    PutPublicAccessBlock "PUT" Bucket [Query("publicAccessBlock")] "s3:PutBucketPublicAccessBlock" Served;
    UpdateBucketMetadataAnnotationTableConfiguration "PUT" Bucket [Query("metadataAnnotationTable")] "s3:UpdateBucketMetadataAnnotationTableConfiguration" Absent;
    UpdateBucketMetadataInventoryTableConfiguration "PUT" Bucket [Query("metadataInventoryTable")] "s3:UpdateBucketMetadataInventoryTableConfiguration" Absent;
    UpdateBucketMetadataJournalTableConfiguration "PUT" Bucket [Query("metadataJournalTable")] "s3:UpdateBucketMetadataJournalTableConfiguration" Absent;
    CreateBucket "PUT" Bucket [] "s3:CreateBucket" Served;
    // Objects.
    AbortMultipartUpload "DELETE" Object [Query("uploadId")] "s3:AbortMultipartUpload" Served;
    DeleteObjectAnnotation "DELETE" Object [Query("annotation")] "s3:DeleteObjectAnnotation" Absent;
    DeleteObjectTagging "DELETE" Object [Query("tagging")] "s3:DeleteObjectTagging" Served;
    DeleteObject "DELETE" Object [] "s3:DeleteObject" Served;
    GetObjectAnnotation "GET" Object [Query("annotation"), Query("annotationName")] "s3:GetObjectAnnotation" Absent;
    GetObjectAcl "GET" Object [Query("acl")] "s3:GetObjectAcl" Served;
    GetObjectAttributes "GET" Object [Query("attributes")] "s3:GetObjectAttributes" Served;
    GetObjectLegalHold "GET" Object [Query("legal-hold")] "s3:GetObjectLegalHold" Served;
    GetObjectRetention "GET" Object [Query("retention")] "s3:GetObjectRetention" Served;
    GetObjectTagging "GET" Object [Query("tagging")] "s3:GetObjectTagging" Served;
    GetObjectTorrent "GET" Object [Query("torrent")] "s3:GetObjectTorrent" Absent;
    ListObjectAnnotations "GET" Object [Query("annotation")] "s3:ListObjectAnnotations" Absent;
    ListParts "GET" Object [Query("uploadId")] "s3:ListMultipartUploadParts" Served;
    GetObject "GET" Object [] "s3:GetObject" Served;
    HeadObject "HEAD" Object [] "s3:GetObject" Served;
    CompleteMultipartUpload "POST" Object [Query("uploadId")] "s3:PutObject" Served;
    CreateMultipartUpload "POST" Object [Query("uploads")] "s3:PutObject" Served;
    RestoreObject "POST" Object [Query("restore")] "s3:RestoreObject" Absent;
    SelectObjectContent "POST" Object [Query("select")] "s3:GetObject" Absent;
    UploadPartCopy "PUT" Object [Query("uploadId"), Header("x-amz-copy-source")] "s3:PutObject" Served;
    PutObjectAcl "PUT" Object [Query("acl")] "s3:PutObjectAcl" Served;
    PutObjectAnnotation "PUT" Object [Query("annotation")] "s3:PutObjectAnnotation" Absent;
    PutObjectLegalHold "PUT" Object [Query("legal-hold")] "s3:PutObjectLegalHold" Served;
    PutObjectRetention "PUT" Object [Query("retention")] "s3:PutObjectRetention" Served;
    PutObjectTagging "PUT" Object [Query("tagging")] "s3:PutObjectTagging" Served;
    RenameObject "PUT" Object [Query("renameObject")] "s3:RenameObject" Served;
    UpdateObjectEncryption "PUT" Object [Query("encryption")] "s3:UpdateObjectEncryption" Absent;
    UploadPart "PUT" Object [Query("uploadId")] "s3:PutObject" Served;
    CopyObject "PUT" Object [Header("x-amz-copy-source")] "s3:PutObject" Served;
    PutObject "PUT" Object [] "s3:PutObject" Served;
}

impl Operation {
    /// Its row of the table.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Mark {
    fn is_on(&self, request: &Request) -> bool {
        match self {
            Self::Query(name) => request.query(name).is_some(),
            Self::Value(name, value) => request.query(name) == Some(value),
            Self::Header(name) => request.head.header(name).is_some(),
        }
    }
}

impl Row {
    /// The query parameter that makes this row another resource than the bucket or object itself.
    fn sub_resource(&self) -> Option<&'static str> {
        match self.marks.first() {
            Some(Mark::Query(name)) => Some(name),
            _ => None,
        }
    }
}

/// What a request asks for. Parameters that S3 does not know are ignored; those that name a sub-resource
/// never are, so that `DELETE /bucket?acl` cannot mean `DELETE /bucket`.
pub fn route(request: &Request) -> Result<Operation, S3Error> {
    let level = request.level();
    let rows = || TABLE.iter().filter(|row| row.level == level);
    let mut named: Vec<&str> =
        rows().filter_map(Row::sub_resource).filter(|name| request.query(name).is_some()).collect();
    named.sort_unstable();
    named.dedup();
    if named.len() > 1 {
        let message = format!("Conflicting query string parameters: {}", named.join(", "));
        return Err(S3Error::invalid_argument(message, "ResourceType", named[0]));
    }
    let named = named.first().copied();
    rows()
        .find(|row| {
            row.method == request.head.method
                && row.sub_resource() == named
                && row.marks.iter().all(|mark| mark.is_on(request))
        })
        .map(|row| row.operation)
        .ok_or_else(|| method_not_allowed(request, level, named))
}

fn method_not_allowed(request: &Request, level: Level, named: Option<&str>) -> S3Error {
    let mut allowed: Vec<&str> = TABLE
        .iter()
        .filter(|row| row.level == level && row.sub_resource() == named)
        .map(|row| row.method)
        .collect();
    allowed.dedup();
    let resource = match named {
        Some(name) => name.to_ascii_uppercase().replace('-', ""),
        None => level.resource_type().to_owned(),
    };
    S3Error::new(Code::MethodNotAllowed)
        .with_field("Method", &request.head.method)
        .with_field("ResourceType", resource)
        .with_header("Allow", allowed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: &str, target: &str) -> Result<Operation, Code> {
        routed_with(method, target, &[])
    }

    fn routed_with(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Operation, Code> {
        let request = Request::for_test(method, target, headers);
        route(&request).map_err(|error| error.code)
    }

    #[test]
    fn every_row_can_be_reached_by_a_request_with_its_marks() {
        for row in TABLE {
            let path = match row.level {
                Level::Service => "/",
                Level::Bucket => "/bucket",
                Level::Object => "/bucket/a/key",
            };
            let mut query = Vec::new();
            let mut headers = Vec::new();
            for mark in row.marks {
                match mark {
                    Mark::Query(name) => query.push(format!("{name}=x")),
                    Mark::Value(name, value) => query.push(format!("{name}={value}")),
                    Mark::Header(name) => headers.push((*name, "x")),
                }
            }
            let target = format!("{path}?{}", query.join("&"));
            assert_eq!(routed_with(row.method, &target, &headers), Ok(row.operation), "{target}");
            assert_eq!(row.operation.row().operation, row.operation);
        }
    }

    #[test]
    fn what_clients_send_means_what_it_means_at_aws() {
        let cases = [
            ("GET", "/", Operation::ListBuckets),
            ("GET", "/b", Operation::ListObjects),
            ("GET", "/b/", Operation::ListObjects),
            ("GET", "/b/?max-keys=1000&prefix&delimiter=%2F", Operation::ListObjects),
            ("GET", "/b?list-type=2&prefix=x", Operation::ListObjectsV2),
            ("GET", "/b?list-type=1", Operation::ListObjects),
            ("GET", "/b?location", Operation::GetBucketLocation),
            ("GET", "/b?location=", Operation::GetBucketLocation),
            ("GET", "/b//", Operation::GetObject),
            ("GET", "/b/k?x-id=GetObject&versionId=null", Operation::GetObject),
            ("PUT", "/b/k?partNumber=1&uploadId=u", Operation::UploadPart),
            ("PUT", "/b/k?unknown", Operation::PutObject),
            ("POST", "/b?delete=", Operation::DeleteObjects),
            ("POST", "/b", Operation::PostObject),
            ("POST", "/b/k?uploads", Operation::CreateMultipartUpload),
            ("GET", "/b?inventory", Operation::ListBucketInventoryConfigurations),
            ("GET", "/b?inventory&id=x", Operation::GetBucketInventoryConfiguration),
        ];
        for (method, target, operation) in cases {
            assert_eq!(routed(method, target), Ok(operation), "{method} {target}");
        }
        let copy = [("x-amz-copy-source", "/b/k")];
        assert_eq!(routed_with("PUT", "/b/k", &copy), Ok(Operation::CopyObject));
        assert_eq!(routed_with("PUT", "/b/k?partNumber=1&uploadId=u", &copy), Ok(Operation::UploadPartCopy));
    }

    #[test]
    fn a_sub_resource_with_the_wrong_method_never_falls_through_to_the_object_or_bucket() {
        for (method, target) in
            [("DELETE", "/b?acl"), ("DELETE", "/b?location"), ("PUT", "/b/k?uploads"), ("POST", "/b/k")]
        {
            assert_eq!(routed(method, target), Err(Code::MethodNotAllowed), "{method} {target}");
        }
        assert_eq!(routed("BREW", "/b/k"), Err(Code::MethodNotAllowed));
        assert_eq!(routed("DELETE", "/b?acl&policy"), Err(Code::InvalidArgument));
    }
}
