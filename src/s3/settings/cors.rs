//! `CORSConfiguration`: which web pages of other origins may use a bucket, and what browsers are told.
//!
//! Source: AWS, PutBucketCors, and "Using cross-origin resource sharing (CORS)". Terms: WHATWG Fetch,
//! "HTTP cors protocol".

use super::document::{Document, Fields, malformed};
use crate::base::limits::{CORS_RULES_MAX, HEADERS_MAX, SETTING_ID_CHARACTERS_MAX};
use crate::http::Response;
use crate::s3::error::S3Error;
use crate::s3::xml::{Element, XmlWriter};

/// The methods that a rule may allow.
pub const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// The rules of a bucket, in their order: the first that fits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    id: Option<String>,
    headers_allowed: Vec<String>,
    methods: Vec<&'static str>,
    origins: Vec<String>,
    headers_exposed: Vec<String>,
    age_seconds_max: Option<u32>,
}

/// What a page asks for.
#[derive(Clone, Copy, Debug)]
pub struct CorsRequest<'a> {
    pub origin: &'a str,
    /// That it uses, or in a preflight that it wants to use.
    pub method: &'a str,
    /// `Access-Control-Request-Headers`, if the page sends it.
    pub headers: Option<&'a str>,
}

/// A rule that lets a page through.
#[derive(Clone, Copy, Debug)]
pub struct CorsGrant<'a> {
    rule: &'a Rule,
    request: CorsRequest<'a>,
    /// Whether the rule lets every origin in.
    is_for_all: bool,
}

impl Cors {
    /// The first rule that fits a request in all its respects. None fits one that announces more headers than
    /// a request may have: everybody can ask, and each name costs a look at each pattern.
    pub fn grant<'a>(&'a self, request: CorsRequest<'a>) -> Option<CorsGrant<'a>> {
        if names(request.headers).count() > HEADERS_MAX {
            return None;
        }
        self.rules.iter().find_map(|rule| {
            let origin = rule.origins.iter().find(|pattern| matches(pattern, request.origin))?;
            let is_allowed =
                |name: &str| rule.headers_allowed.iter().any(|pattern| matches_ignoring_case(pattern, name));
            let fits = rule.methods.contains(&request.method) && names(request.headers).all(is_allowed);
            fits.then_some(CorsGrant { rule, request, is_for_all: origin == "*" })
        })
    }
}

impl CorsGrant<'_> {
    /// Adds the headers by which a browser lets the page have the answer.
    pub fn write(&self, response: &mut Response) {
        let origin = if self.is_for_all { "*" } else { self.request.origin };
        response.header("Access-Control-Allow-Origin", origin);
        response.header("Access-Control-Allow-Methods", self.rule.methods.join(", "));
        if self.request.headers.is_some() {
            let names: Vec<_> = names(self.request.headers).map(str::to_ascii_lowercase).collect();
            response.header("Access-Control-Allow-Headers", names.join(", "));
        }
        if !self.rule.headers_exposed.is_empty() {
            response.header("Access-Control-Expose-Headers", self.rule.headers_exposed.join(", "));
        }
        if let Some(seconds) = self.rule.age_seconds_max {
            response.header("Access-Control-Max-Age", seconds.to_string());
        }
        // Browsers refuse credentials together with `*`.
        if !self.is_for_all {
            response.header("Access-Control-Allow-Credentials", "true");
        }
    }
}

/// Tells caches on which headers of the request an answer depends. It is true of every answer of a bucket
/// with rules, also where no rule fits.
pub fn write_vary(response: &mut Response) {
    response.header("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
}

/// Names of headers in a list that commas separate.
fn names(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Whether a text fits a pattern with at most one `*`, which stands for any characters or none.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

/// [`matches`] for names of headers, which have no case.
fn matches_ignoring_case(pattern: &str, text: &str) -> bool {
    let text = text.as_bytes();
    match pattern.split_once('*') {
        None => pattern.as_bytes().eq_ignore_ascii_case(text),
        Some((start, end)) => {
            text.len() >= start.len() + end.len()
                && text[..start.len()].eq_ignore_ascii_case(start.as_bytes())
                && text[text.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
        }
    }
}

impl Document for Cors {
    const NAME: &'static str = "cors";
    const ROOT: &'static str = "CORSConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let rules: Vec<_> =
            Fields::of(root, &["CORSRule"])?.all("CORSRule").map(Rule::read).collect::<Result<_, _>>()?;
        if rules.is_empty() {
            return Err(malformed());
        }
        if rules.len() > CORS_RULES_MAX {
            let message = format!(
                "The number of CORS rules should not exceed allowed limit of {CORS_RULES_MAX} rules."
            );
            return Err(S3Error::invalid_request(message));
        }
        Ok(Self { rules })
    }

    fn write(&self, xml: &mut XmlWriter) {
        for rule in &self.rules {
            rule.write(xml);
        }
    }
}

impl Rule {
    fn read(element: &Element) -> Result<Self, S3Error> {
        let names =
            ["ID", "AllowedHeader", "AllowedMethod", "AllowedOrigin", "ExposeHeader", "MaxAgeSeconds"];
        let fields = Fields::of(element, &names)?;
        let rule = Self {
            id: fields.text("ID")?.map(str::to_owned),
            headers_allowed: fields.texts("AllowedHeader")?,
            methods: methods(fields)?,
            origins: fields.texts("AllowedOrigin")?,
            headers_exposed: fields.texts("ExposeHeader")?,
            age_seconds_max: fields.value("MaxAgeSeconds")?,
        };
        if rule.methods.is_empty() || rule.origins.is_empty() {
            return Err(malformed());
        }
        rule.check()?;
        Ok(rule)
    }

    fn check(&self) -> Result<(), S3Error> {
        if self.id.as_ref().is_some_and(|id| id.chars().count() > SETTING_ID_CHARACTERS_MAX) {
            let message = format!("ID length should not exceed allowed limit of {SETTING_ID_CHARACTERS_MAX}");
            return Err(S3Error::invalid_request(message));
        }
        let patterns = [("AllowedOrigin", &self.origins), ("AllowedHeader", &self.headers_allowed)];
        for (name, pattern) in patterns.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one)))
        {
            if pattern.matches('*').count() > 1 {
                let message = format!("{name} \"{pattern}\" can not have more than one wildcard.");
                return Err(S3Error::invalid_request(message));
            }
        }
        if let Some(header) = self.headers_exposed.iter().find(|header| header.contains('*')) {
            let message = format!(
                "ExposeHeader \"{header}\" contains wildcard. We currently do not support wildcard for \
                 ExposeHeader."
            );
            return Err(S3Error::invalid_request(message));
        }
        Ok(())
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.open("CORSRule");
        if let Some(id) = &self.id {
            xml.text("ID", id);
        }
        for header in &self.headers_allowed {
            xml.text("AllowedHeader", header);
        }
        for method in &self.methods {
            xml.text("AllowedMethod", method);
        }
        for origin in &self.origins {
            xml.text("AllowedOrigin", origin);
        }
        for header in &self.headers_exposed {
            xml.text("ExposeHeader", header);
        }
        if let Some(seconds) = self.age_seconds_max {
            xml.value("MaxAgeSeconds", seconds);
        }
        xml.close();
    }
}

fn methods(fields: Fields<'_>) -> Result<Vec<&'static str>, S3Error> {
    let known = |method: String| {
        METHODS.into_iter().find(|known| *known == method).ok_or_else(|| {
            S3Error::invalid_request(format!(
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            ))
        })
    };
    fields.texts("AllowedMethod")?.into_iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;
    use crate::s3::error::Code;
    use proptest::prelude::*;

    fn rule(origins: &[&str], methods: &[&str], more: &str) -> String {
        let elements = |name: &str, texts: &[&str]| {
            texts.iter().map(|text| format!("<{name}>{text}</{name}>")).collect::<String>()
        };
        let (origins, methods) = (elements("AllowedOrigin", origins), elements("AllowedMethod", methods));
        format!("<CORSRule>{origins}{methods}{more}</CORSRule>")
    }

    fn ask<'a>(origin: &'a str, method: &'a str, headers: Option<&'a str>) -> CorsRequest<'a> {
        CorsRequest { origin, method, headers }
    }

    fn answer(cors: &Cors, request: CorsRequest<'_>) -> Option<String> {
        let grant = cors.grant(request)?;
        let mut response = Response::new(200);
        grant.write(&mut response);
        Some(String::from_utf8(response.headers).unwrap())
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let cors: Cors = read(
            &[
                rule(&["*suffix"], &["GET"], ""),
                rule(&["start*end"], &["GET", "HEAD"], "<MaxAgeSeconds>30</MaxAgeSeconds>"),
                rule(&["*.put"], &["PUT"], "<AllowedHeader>x-amz-*</AllowedHeader>"),
            ]
            .concat(),
        )
        .unwrap();
        let allowed = |origin, method, headers| cors.grant(ask(origin, method, headers)).is_some();
        assert!(allowed("foo.suffix", "GET", None));
        assert!(!allowed("foo.suffix", "HEAD", None));
        assert!(!allowed("foo.suffix.get", "GET", None));
        assert!(allowed("startend", "HEAD", None) && allowed("start1end", "GET", None));
        assert!(!allowed("star", "GET", None) && !allowed("0startend", "GET", None));
        assert!(!allowed("a.put", "GET", None));
        assert!(allowed("a.put", "PUT", Some("X-Amz-Meta-A, x-amz-date")));
        assert!(!allowed("a.put", "PUT", Some("content-type")));
        assert_eq!(
            answer(&cors, ask("start-end", "HEAD", None)).unwrap(),
            "Access-Control-Allow-Origin: start-end\r\nAccess-Control-Allow-Methods: GET, HEAD\r\n\
             Access-Control-Max-Age: 30\r\nAccess-Control-Allow-Credentials: true\r\n"
        );
    }

    #[test]
    fn names_of_headers_fit_in_any_case_and_as_many_as_a_request_may_have() {
        let headers = "<AllowedHeader>X-*-Meta</AllowedHeader><AllowedHeader>ETag</AllowedHeader>";
        let cors: Cors = read(&rule(&["*"], &["GET"], headers)).unwrap();
        let allowed = |headers: &str| cors.grant(ask("https://a", "GET", Some(headers))).is_some();
        assert!(allowed("x-amz-META, etag,") && allowed("x--meta") && allowed(""));
        assert!(
            !allowed("x-meta") && !allowed("etags") && !allowed("\u{e9}-meta") && !allowed("x-amz-meta, a")
        );
        assert!(allowed(&"etag,".repeat(HEADERS_MAX)));
        assert!(!allowed(&"etag,".repeat(HEADERS_MAX + 1)));
    }

    #[test]
    fn a_rule_for_all_origins_names_none_and_takes_no_credentials() {
        let more = "<AllowedHeader>*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
                    <ExposeHeader>x-amz-id-2</ExposeHeader>";
        let cors: Cors = read(&rule(&["*"], &["GET"], more)).unwrap();
        assert_eq!(
            answer(&cors, ask("https://a", "GET", Some("A,b"))).unwrap(),
            "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET\r\n\
             Access-Control-Allow-Headers: a, b\r\nAccess-Control-Expose-Headers: ETag, x-amz-id-2\r\n"
        );
    }

    #[test]
    fn a_document_that_cannot_be_heeded_is_refused() {
        let invalid = |inside: &str| {
            let (code, message) = refusal::<Cors>(inside);
            assert_eq!(code, Code::InvalidRequest, "{inside}");
            message
        };
        assert!(invalid(&rule(&["*"], &["PATCH"], "")).ends_with("Unsupported method is PATCH"));
        assert!(invalid(&rule(&["*.*"], &["GET"], "")).contains("more than one wildcard"));
        let headers = "<AllowedHeader>*-*</AllowedHeader>";
        assert!(invalid(&rule(&["*"], &["GET"], headers)).contains("more than one wildcard"));
        let exposed = "<ExposeHeader>x-*</ExposeHeader>";
        assert!(invalid(&rule(&["*"], &["GET"], exposed)).contains("contains wildcard"));
        let id = format!("<ID>{}</ID>", "i".repeat(SETTING_ID_CHARACTERS_MAX + 1));
        invalid(&rule(&["*"], &["GET"], &id));
        let fine = rule(&["*"], &["GET"], "");
        assert!(read::<Cors>(&fine.repeat(CORS_RULES_MAX)).is_ok());
        invalid(&fine.repeat(CORS_RULES_MAX + 1));
        for inside in [
            String::new(),
            rule(&[], &["GET"], ""),
            rule(&["*"], &[], ""),
            rule(&["*"], &["GET"], "<MaxAgeSeconds>-1</MaxAgeSeconds>"),
            rule(&["*"], &["GET"], "<AllowedOrigins>*</AllowedOrigins>"),
        ] {
            assert_eq!(refusal::<Cors>(&inside).0, Code::MalformedXML, "{inside}");
        }
    }

    proptest! {
        #[test]
        fn rules_that_are_taken_write_and_read_themselves(
            rules in prop::collection::vec(
                (
                    prop::option::of("[a-z<&]{0,9}"),
                    prop::collection::vec("[a-z]{0,3}\\*?[a-z.:/]{0,9}", 1..3),
                    prop::sample::subsequence(METHODS.to_vec(), 1..5),
                    prop::collection::vec("[a-zA-Z-]{1,9}\\*?", 0..3),
                    prop::collection::vec("[a-zA-Z-]{1,9}", 0..3),
                    prop::option::of(any::<u32>()),
                ),
                1..4,
            ),
        ) {
            let rule = |(id, origins, methods, headers_allowed, headers_exposed, age_seconds_max)| {
                Rule { id, origins, methods, headers_allowed, headers_exposed, age_seconds_max }
            };
            let cors = Cors { rules: rules.into_iter().map(rule).collect() };
            prop_assert_eq!(Cors::parse(&cors.render()), Ok(cors.clone()));
            assert_fixed_point(&cors);
        }

        #[test]
        fn a_pattern_fits_what_it_says(start in "[ab]{0,3}", middle in "[ab*]{0,3}", end in "[ab]{0,3}") {
            let pattern = format!("{start}*{end}");
            let text = format!("{start}{middle}{end}");
            prop_assert!(matches(&pattern, &text));
        }
    }
}
