//! ListBuckets: the buckets of the owner, in order of name, all at once or in pages.

use std::rc::Rc;

use crate::engine::Bucket;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::accounts::Owner;
use crate::s3::error::S3Error;
use crate::s3::listing;
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::xml::{self, XmlWriter};

/// AWS, ListBuckets: `max-buckets` is 1 to 10,000.
const BUCKETS_MAX: usize = 10_000;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let query = Query::read(&request)?;
    // Nobody unsigned gets here.
    let account = request.principal().map(|principal| principal.account_id.as_str()).unwrap_or_default();
    let mut buckets = service.engine().buckets();
    buckets.retain(|bucket| service.owner_account(&service.bucket_settings(bucket)) == account);
    let owner = service.accounts().owner(account);
    Ok(super::document(query.answer(&buckets, &owner, &service.settings().region)))
}

/// What is asked for.
struct Query {
    prefix: Option<String>,
    after: String,
    count_max: usize,
    region: Option<String>,
    /// Whether any parameter was given: only then AWS shows the buckets' regions.
    is_paged: bool,
}

impl Query {
    fn read(request: &Request) -> Result<Self, S3Error> {
        let count_max = match request.query("max-buckets") {
            None => BUCKETS_MAX,
            Some(text) => {
                text.parse().ok().filter(|count| (1..=BUCKETS_MAX).contains(count)).ok_or_else(|| {
                    let message = "Argument max-buckets must be an integer between 1 and 10000.";
                    S3Error::invalid_argument(message, "max-buckets", text)
                })?
            }
        };
        let after = listing::token_parse(request.query("continuation-token").unwrap_or_default())?;
        let names = ["prefix", "continuation-token", "max-buckets", "bucket-region"];
        Ok(Self {
            prefix: request.query("prefix").map(str::to_owned),
            after,
            count_max,
            region: request.query("bucket-region").filter(|region| !region.is_empty()).map(str::to_owned),
            is_paged: names.iter().any(|name| request.query(name).is_some()),
        })
    }

    /// `buckets` are in order of name.
    fn answer(&self, buckets: &[Rc<Bucket>], owner: &Owner, here: &str) -> XmlWriter {
        let is_here = self.region.as_ref().is_none_or(|region| region == here);
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let mut wanted = buckets
            .iter()
            .filter(|bucket| is_here && bucket.name > self.after && bucket.name.starts_with(prefix));
        let page: Vec<_> = wanted.by_ref().take(self.count_max).collect();

        let mut xml = XmlWriter::document("ListAllMyBucketsResult");
        owner.write(&mut xml, "Owner");
        xml.open("Buckets");
        for bucket in &page {
            xml.open("Bucket");
            xml.text("Name", &bucket.name);
            xml.text("CreationDate", &xml::timestamp(bucket.created));
            if self.is_paged {
                xml.text("BucketRegion", here);
            }
            xml.close();
        }
        xml.close();
        if let (Some(last), Some(_)) = (page.last(), wanted.next()) {
            xml.text("ContinuationToken", &listing::token_text(&last.name));
        }
        if let Some(prefix) = &self.prefix {
            xml.text("Prefix", prefix);
        }
        xml
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Versioning;
    use crate::s3::error::Code;
    use crate::s3::xml::Element;
    use std::collections::BTreeMap;

    fn buckets(names: &[&str]) -> Vec<Rc<Bucket>> {
        let bucket = |name: &&str| Bucket {
            id: 1,
            name: (*name).to_owned(),
            created: 0,
            versioning: Versioning::Unversioned,
            settings: BTreeMap::new(),
        };
        names.iter().map(bucket).map(Rc::new).collect()
    }

    fn list(target: &str, names: &[&str]) -> Element {
        let query = Query::read(&Request::for_test("GET", target, &[])).unwrap();
        let document = query
            .answer(&buckets(names), &Owner { id: "id".to_owned(), name: "root".to_owned() }, "us-east-1")
            .finish();
        xml::parse(&document, "ListAllMyBucketsResult").unwrap()
    }

    fn names(result: &Element) -> Vec<&str> {
        let buckets = result.child("Buckets").unwrap();
        buckets.children_named("Bucket").map(|bucket| bucket.child_text("Name").unwrap()).collect()
    }

    #[test]
    fn without_parameters_all_buckets_are_listed_without_regions() {
        let result = list("/", &["a-1", "b-1", "b-2"]);
        assert_eq!(names(&result), ["a-1", "b-1", "b-2"]);
        assert!(result.child("ContinuationToken").is_none());
        let first = &result.child("Buckets").unwrap().children[0];
        assert!(first.child("BucketRegion").is_none());
        assert_eq!(result.child("Owner").unwrap().child_text("DisplayName"), Some("root"));
    }

    #[test]
    fn pages_follow_each_other_until_none_is_left() {
        let all = ["a-1", "b-1", "b-2", "b-3"];
        let first = list("/?max-buckets=2&prefix=b", &all);
        assert_eq!(names(&first), ["b-1", "b-2"]);
        assert_eq!(first.child_text("Prefix"), Some("b"));
        let token = first.child_text("ContinuationToken").unwrap();
        let second = list(&format!("/?max-buckets=2&prefix=b&continuation-token={token}"), &all);
        assert_eq!(names(&second), ["b-3"]);
        assert!(second.child("ContinuationToken").is_none());
        assert!(list("/?max-buckets=1", &["a-1"]).child("ContinuationToken").is_none());
    }

    #[test]
    fn another_region_has_no_buckets() {
        assert_eq!(names(&list("/?bucket-region=us-east-1", &["a-1"])), ["a-1"]);
        assert!(names(&list("/?bucket-region=eu-west-1", &["a-1"])).is_empty());
    }

    #[test]
    fn page_sizes_out_of_range_are_refused() {
        for count in ["0", "-1", "10001", "x", ""] {
            let request = Request::for_test("GET", &format!("/?max-buckets={count}"), &[]);
            assert_eq!(Query::read(&request).err().map(|error| error.code), Some(Code::InvalidArgument));
        }
    }
}
