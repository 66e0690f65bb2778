//! The evaluator against a small model that works from the generated statements and never sees the JSON, the
//! tables or the code of the evaluator.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::auth::acl::{Acl, Grant, Grantee, Permission};

const ACTIONS: [&str; 5] =
    ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:PutBucketPolicy"];
const ACTION_PATTERNS: [&str; 7] =
    ["*", "s3:*", "s3:Get*", "S3:getobject", "s3:?utObject", "s3:*Object", "s3:ListBucket"];
const KEYS: [&str; 4] = ["a", "a/b", "b", "é/b"];
const RESOURCE_PATTERNS: [&str; 6] =
    ["*", "bucket", "bucket/*", "bucket/a*", "bucket/?/b", "bucket/${aws:userid}"];
const OPERATORS: [&str; 6] = [
    "StringEquals",
    "StringNotEquals",
    "StringLike",
    "StringNotLikeIfExists",
    "StringEqualsIfExists",
    "ForAllValues:StringLike",
];
const OPERANDS: [&str; 3] = ["a", "a*", "?"];
const VALUES: [&str; 3] = ["a", "ab", "*"];

/// Whom a statement names and who asks: an account, or a user `Dave` of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Anyone,
    Account(&'static str),
    User(&'static str),
}

#[derive(Clone, Debug)]
struct Rule {
    deny: bool,
    not_principal: bool,
    principals: Vec<Who>,
    not_action: bool,
    actions: Vec<&'static str>,
    not_resource: bool,
    resources: Vec<&'static str>,
    condition: Option<(&'static str, Vec<&'static str>)>,
}

#[derive(Clone, Debug)]
struct World {
    bucket: Vec<Rule>,
    identity: Vec<Rule>,
    grants: Vec<(Who, bool, Permission)>,
    public_block: bool,
    sender: Option<Who>,
    action: &'static str,
    key: &'static str,
    referer: Option<&'static str>,
}

fn rule() -> impl Strategy<Value = Rule> {
    let principals =
        vec![Who::Anyone, Who::Account(OWNER), Who::Account(OTHER), Who::User(OWNER), Who::User(OTHER)];
    (
        prop::bool::weighted(0.3),
        any::<bool>(),
        subsequence(principals, 1..3),
        prop::bool::weighted(0.2),
        subsequence(ACTION_PATTERNS.to_vec(), 1..3),
        prop::bool::weighted(0.2),
        subsequence(RESOURCE_PATTERNS.to_vec(), 1..3),
        prop::option::of((select(OPERATORS.to_vec()), subsequence(OPERANDS.to_vec(), 1..3))),
    )
        .prop_map(
            |(deny, not_principal, principals, not_action, actions, not_resource, resources, condition)| {
                Rule {
                    deny,
                    // What allows must name whom.
                    not_principal: not_principal && deny,
                    principals,
                    not_action,
                    actions,
                    not_resource,
                    resources,
                    condition,
                }
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    let senders = [OWNER, OTHER].into_iter().flat_map(|id| [Who::Account(id), Who::User(id)]);
    let grantees = vec![Who::Anyone, Who::Account(OWNER), Who::Account(OTHER)];
    let permissions = vec![Permission::Read, Permission::Write, Permission::FullControl];
    (
        prop::collection::vec(rule(), 0..3),
        prop::collection::vec(rule(), 0..3),
        prop::collection::vec((select(grantees), any::<bool>(), select(permissions)), 0..2),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.8, select(senders.collect::<Vec<_>>())),
        select(ACTIONS.to_vec()),
        select(KEYS.to_vec()),
        prop::option::of(select(VALUES.to_vec())),
    )
        .prop_map(|(bucket, identity, grants, public_block, sender, action, key, referer)| World {
            bucket,
            identity,
            grants,
            public_block,
            sender,
            action,
            key,
            referer,
        })
}

/// The definition of wildcards, by trying everything.
fn fits(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => fits(rest, text) || matches!(text, [_, tail @ ..] if fits(pattern, tail)),
        (['?', rest @ ..], [_, tail @ ..]) => fits(rest, tail),
        ([wanted, rest @ ..], [found, tail @ ..]) => wanted == found && fits(rest, tail),
        _ => false,
    }
}

fn like(pattern: &str, text: &str) -> bool {
    fits(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

impl World {
    fn user_id(&self) -> String {
        match self.sender {
            None | Some(Who::Anyone) => "anonymous".to_owned(),
            Some(Who::Account(id)) => id.to_owned(),
            Some(Who::User(_)) => "AIDADave".to_owned(),
        }
    }

    fn account(&self) -> Option<&'static str> {
        match self.sender {
            Some(Who::Account(id) | Who::User(id)) => Some(id),
            _ => None,
        }
    }

    /// Whether a rule is about the request, apart from principals.
    fn is_about(&self, rule: &Rule) -> bool {
        let action = self.action.to_lowercase();
        let named = rule.actions.iter().any(|pattern| like(&pattern.to_lowercase(), &action));
        let resource = match self.action {
            "s3:ListBucket" | "s3:PutBucketPolicy" => "bucket".to_owned(),
            _ => format!("bucket/{}", self.key),
        };
        let covered = rule.resources.iter().any(|pattern| match *pattern {
            "bucket/${aws:userid}" => resource == format!("bucket/{}", self.user_id()),
            pattern => like(pattern, &resource),
        });
        let holds = rule.condition.as_ref().is_none_or(|(operator, operands)| {
            let equal = |value: &str| operands.contains(&value);
            let alike = |value: &str| operands.iter().any(|operand| like(operand, value));
            match (*operator, self.referer) {
                ("StringEquals", value) => value.is_some_and(equal),
                ("StringNotEquals", value) => !value.is_some_and(equal),
                ("StringLike", value) => value.is_some_and(alike),
                ("StringNotLikeIfExists", value) => !value.is_some_and(alike),
                ("StringEqualsIfExists", value) => value.is_none_or(equal),
                (_, value) => value.is_none_or(alike),
            }
        });
        named != rule.not_action && covered != rule.not_resource && holds
    }

    /// Whether a rule of the bucket's policy names the account of the sender, and the sender itself.
    fn named(&self, rule: &Rule) -> (bool, bool) {
        let anyone = rule.principals.contains(&Who::Anyone);
        let account = self.account().is_some_and(|id| rule.principals.contains(&Who::Account(id)));
        let itself = self.sender.is_some_and(|sender| rule.principals.contains(&sender));
        (anyone || account, anyone || itself)
    }

    fn is_denied(&self) -> bool {
        let by_identity =
            self.account().is_some() && self.identity.iter().any(|rule| rule.deny && self.is_about(rule));
        let by_bucket = self.bucket.iter().filter(|rule| rule.deny && self.is_about(rule)).any(|rule| {
            let (account, itself) = self.named(rule);
            match rule.not_principal {
                true => !(account && itself),
                false => account || itself,
            }
        });
        by_identity || by_bucket
    }

    fn is_public(&self) -> bool {
        self.bucket.iter().any(|rule| !rule.deny && rule.principals.contains(&Who::Anyone))
    }

    fn is_granted(&self) -> bool {
        let wanted = match self.action {
            "s3:ListBucket" => Permission::Read,
            "s3:PutObject" | "s3:DeleteObject" => Permission::Write,
            _ => return false,
        };
        self.grants
            .iter()
            .filter(|(.., granted)| *granted == wanted || *granted == Permission::FullControl)
            .any(|(who, signed, _)| match who {
                Who::Anyone => !self.public_block && (!signed || self.sender.is_some()),
                // A grant to its account is nothing to a user whose account owns the bucket.
                Who::Account(id) => self.account() == Some(*id) && self.account() != Some(OWNER),
                Who::User(_) => false,
            })
    }

    fn is_allowed(&self) -> bool {
        if self.sender == Some(Who::Account(OWNER)) && self.action == "s3:PutBucketPolicy" {
            return true;
        }
        if self.is_denied() {
            return false;
        }
        let allowing = |rule: &&Rule| !rule.deny && self.is_about(rule);
        let own_account_agrees = match self.sender {
            Some(Who::User(_)) => self.identity.iter().any(|rule| allowing(&rule)),
            _ => true,
        };
        let is_cut = self.public_block && self.is_public() && self.account() != Some(OWNER);
        let names = |pick: fn((bool, bool)) -> bool| {
            !is_cut && self.bucket.iter().filter(allowing).any(|rule| pick(self.named(rule)))
        };
        match self.sender {
            Some(Who::Account(OWNER)) => true,
            Some(Who::User(OWNER)) => own_account_agrees || names(|(_, itself)| itself) || self.is_granted(),
            _ => own_account_agrees && (names(|(account, itself)| account || itself) || self.is_granted()),
        }
    }
}

fn json(rules: &[Rule], kind: Kind) -> String {
    let list = |texts: Vec<String>| format!("[{}]", texts.join(","));
    let quoted = |text: &&str| format!("\"{text}\"");
    let not = |is_not: bool| if is_not { "Not" } else { "" };
    let statements = rules.iter().map(|rule| {
        let mut text = format!(r#"{{"Effect":"{}""#, if rule.deny { "Deny" } else { "Allow" });
        if kind == Kind::Bucket {
            let principals = rule.principals.iter().map(|who| match who {
                Who::Anyone => "\"*\"".to_owned(),
                Who::Account(id) => format!("\"arn:aws:iam::{id}:root\""),
                Who::User(id) => format!("\"arn:aws:iam::{id}:user/Dave\""),
            });
            text += &format!(
                r#","{}Principal":{{"AWS":{}}}"#,
                not(rule.not_principal),
                list(principals.collect())
            );
        }
        let actions = list(rule.actions.iter().map(quoted).collect());
        text += &format!(r#","{}Action":{actions}"#, not(rule.not_action));
        let resources = rule.resources.iter().map(|resource| match *resource {
            "*" if kind == Kind::Identity => "\"*\"".to_owned(),
            resource => format!("\"arn:aws:s3:::{resource}\""),
        });
        text += &format!(r#","{}Resource":{}"#, not(rule.not_resource), list(resources.collect()));
        if let Some((operator, operands)) = &rule.condition {
            let operands = list(operands.iter().map(quoted).collect());
            text += &format!(r#","Condition":{{"{operator}":{{"aws:Referer":{operands}}}}}"#);
        }
        text + "}"
    });
    format!(r#"{{"Version":"2012-10-17","Statement":{}}}"#, list(statements.collect()))
}

/// What the code says about a world.
fn evaluated(world: &World) -> bool {
    let policies = |rules: &[Rule], kind| match rules {
        [] => None,
        rules => Some(Policy::parse(json(rules, kind).as_bytes(), kind).unwrap()),
    };
    let policy = policies(&world.bucket, Kind::Bucket);
    let principal = world.sender.map(|sender| {
        let mut principal = match sender {
            Who::Account(id) => root(id),
            Who::User(id) => user(id, "Dave", &[]),
            Who::Anyone => unreachable!("nobody signs as anyone"),
        };
        principal.policies = policies(&world.identity, Kind::Identity).map(Rc::new).into_iter().collect();
        principal
    });
    let mut acl = Acl { owner: canonical(OWNER), grants: Vec::new() };
    for (who, signed, permission) in &world.grants {
        let grantee = match who {
            Who::Account(id) | Who::User(id) => Grantee::Account(canonical(id)),
            Who::Anyone if *signed => Grantee::AuthenticatedUsers,
            Who::Anyone => Grantee::AllUsers,
        };
        acl.add(Grant { grantee, permission: *permission }).unwrap();
    }
    let facts = Facts(world.referer.iter().map(|value| ("aws:Referer", vec![*value])).collect());
    let attempt = Attempt {
        principal: principal.as_ref(),
        action: Action::named(world.action),
        bucket: "bucket",
        key: world.key,
        context: &facts,
    };
    let guard = Guard {
        owner: OWNER,
        policy: policy.as_ref(),
        acl: Some(&acl),
        ignore_public_acls: world.public_block,
        restrict_public_buckets: world.public_block,
    };
    is_allowed(&attempt, &guard, ObjectAcl::None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]
    #[test]
    fn the_evaluator_decides_as_the_model(world in world()) {
        prop_assert_eq!(evaluated(&world), world.is_allowed());
    }
}
