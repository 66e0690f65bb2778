//! ListObjectsV2: pages by continuation token.

use crate::engine::ListPage;
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::accounts::Owner;
use crate::s3::error::S3Error;
use crate::s3::listing::{self, Filter};
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let filter = Filter::read(&request)?;
    let position = Position::read(&request)?;
    let page = match filter.query(position.after.as_bytes()) {
        Some(query) => service.engine().list(bucket.id, query).await?,
        None => ListPage::default(),
    };
    let owner = (request.query("fetch-owner") == Some("true")).then(|| service.owner(&bucket));
    Ok(super::document(answer(&bucket.name, &filter, &position, &page, owner.as_ref())))
}

/// Where the page begins.
#[derive(Debug, PartialEq, Eq)]
struct Position {
    token: Option<String>,
    start_after: Option<String>,
    /// The token's position if there is a token, otherwise `start-after`.
    after: String,
}

impl Position {
    fn read(request: &Request) -> Result<Self, S3Error> {
        let token = request.query("continuation-token").map(str::to_owned);
        let start_after = request.query("start-after").map(str::to_owned);
        let after = match token.as_deref() {
            Some(token) if !token.is_empty() => listing::token_parse(token)?,
            _ => start_after.clone().unwrap_or_default(),
        };
        Ok(Self { token, start_after, after })
    }
}

fn answer(
    bucket: &str,
    filter: &Filter,
    position: &Position,
    page: &ListPage,
    owner: Option<&Owner>,
) -> XmlWriter {
    let mut xml = XmlWriter::document("ListBucketResult");
    xml.text("Name", bucket);
    filter.write_key(&mut xml, "Prefix", filter.prefix.as_bytes());
    if let Some(start_after) = &position.start_after {
        filter.write_key(&mut xml, "StartAfter", start_after.as_bytes());
    }
    if let Some(token) = &position.token {
        xml.text("ContinuationToken", token);
    }
    if page.truncated {
        xml.text("NextContinuationToken", &listing::token_text(&String::from_utf8_lossy(&page.next)));
    }
    xml.value("KeyCount", page.objects.len() + page.common_prefixes.len());
    filter.write_echo(&mut xml);
    xml.value("IsTruncated", page.truncated);
    filter.write_page(&mut xml, page, owner);
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;
    use crate::s3::xml::{self, Element};

    fn list(target: &str, page: &ListPage) -> Element {
        let request = Request::for_test("GET", target, &[]);
        let filter = Filter::read(&request).unwrap();
        let position = Position::read(&request).unwrap();
        let document = answer("bucket", &filter, &position, page, None).finish();
        xml::parse(&document, "ListBucketResult").unwrap()
    }

    #[test]
    fn a_token_leads_to_where_the_page_ended_whatever_start_after_says() {
        let page = ListPage {
            common_prefixes: vec![b"a/".to_vec(), "\u{e4}/".into()],
            truncated: true,
            next: "\u{e4}/".into(),
            ..ListPage::default()
        };
        let result = list("/b?list-type=2&delimiter=/&start-after=A", &page);
        assert_eq!(result.child_text("KeyCount"), Some("2"));
        assert_eq!(result.child_text("IsTruncated"), Some("true"));
        assert_eq!(result.child_text("StartAfter"), Some("A"));
        assert_eq!(result.child("ContinuationToken"), None);
        assert_eq!(result.child("Marker"), None);

        let token = result.child_text("NextContinuationToken").unwrap();
        let target = format!("/b?list-type=2&start-after=A&continuation-token={token}");
        let position = Position::read(&Request::for_test("GET", &target, &[])).unwrap();
        assert_eq!(position.after, "\u{e4}/");
        let next = list(&target, &ListPage::default());
        assert_eq!(next.child_text("ContinuationToken"), Some(token));
        assert_eq!(next.child_text("KeyCount"), Some("0"));
        assert_eq!(next.child("NextContinuationToken"), None);
    }

    #[test]
    fn an_empty_token_starts_at_the_beginning_and_is_repeated() {
        let target = "/b?list-type=2&continuation-token=";
        let position = Position::read(&Request::for_test("GET", target, &[])).unwrap();
        assert_eq!(position.after, "");
        assert_eq!(list(target, &ListPage::default()).child_text("ContinuationToken"), Some(""));
    }

    #[test]
    fn a_token_that_was_not_given_out_is_refused() {
        let request = Request::for_test("GET", "/b?list-type=2&continuation-token=!", &[]);
        assert_eq!(Position::read(&request).unwrap_err().code, Code::InvalidArgument);
    }
}
