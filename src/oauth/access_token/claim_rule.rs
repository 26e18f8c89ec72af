//! Rules about single claims of an access token: `realm_access.roles` contains `admin`.

use serde_json::Value;

use crate::jose::Claims;

/// What one claim must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// The claim's name, or the names of the members that lead to it. Never empty.
    pub path: Vec<String>,
    /// What must hold of it.
    pub test: ClaimTest,
}

/// What must hold of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimTest {
    /// It is an array with this string in it, or a string of words separated by spaces with
    /// this word.
    Contains(String),
    /// It is exactly this string, number or boolean.
    Equals(Value),
}

impl ClaimRule {
    /// True when `claims` are as the rule wants. A claim that is missing or of another type
    /// never is.
    pub fn is_met(&self, claims: &Claims) -> bool {
        self.find(claims).is_some_and(|value| match &self.test {
            ClaimTest::Equals(expected) => value == expected,
            ClaimTest::Contains(word) => match value {
                Value::Array(items) => items.iter().any(|item| item.as_str() == Some(word)),
                Value::String(text) => text.split(' ').any(|one| one == word),
                _ => false,
            },
        })
    }

    fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        let (first, rest) = self.path.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| {
            value.as_object()?.get(name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &[&str], test: ClaimTest, claims: &str, expected: bool) {
        let rule = ClaimRule {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            test,
        };
        let parsed = Claims::parse(claims.as_bytes()).expect("claims");
        assert_eq!(rule.is_met(&parsed), expected, "{rule:?} {claims}");
    }

    #[test]
    fn a_word_is_contained_whole() {
        let admin = || ClaimTest::Contains("admin".to_owned());
        for good in [
            r#"{"g":["user","admin"]}"#,
            r#"{"g":"user admin"}"#,
            r#"{"g":"admin"}"#,
            r#"{"g":[1,null,"admin"]}"#,
        ] {
            check(&["g"], admin(), good, true);
        }
        for bad in [
            r#"{}"#,
            r#"{"g":null}"#,
            r#"{"g":[]}"#,
            r#"{"g":["Admin","admins","not admin"]}"#,
            r#"{"g":[["admin"]]}"#,
            r#"{"g":{"admin":true}}"#,
            r#"{"g":"admins"}"#,
            r#"{"g":"user,admin"}"#,
            r#"{"g":"user\tadmin"}"#,
            r#"{"G":["admin"]}"#,
        ] {
            check(&["g"], admin(), bad, false);
        }
    }

    #[test]
    fn equal_is_of_the_same_type() {
        let text = || ClaimTest::Equals("1".into());
        check(&["v"], text(), r#"{"v":"1"}"#, true);
        check(&["v"], text(), r#"{"v":1}"#, false);
        check(&["v"], text(), r#"{"v":["1"]}"#, false);
        let number = || ClaimTest::Equals(1.into());
        check(&["v"], number(), r#"{"v":1}"#, true);
        check(&["v"], number(), r#"{"v":"1"}"#, false);
        check(&["v"], number(), r#"{"v":true}"#, false);
        let flag = || ClaimTest::Equals(true.into());
        check(&["v"], flag(), r#"{"v":true}"#, true);
        check(&["v"], flag(), r#"{"v":"true"}"#, false);
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let path = ["realm_access", "roles"];
        let admin = || ClaimTest::Contains("admin".to_owned());
        check(
            &path,
            admin(),
            r#"{"realm_access":{"roles":["admin"]}}"#,
            true,
        );
        for bad in [
            r#"{"realm_access.roles":["admin"]}"#,
            r#"{"roles":["admin"]}"#,
            r#"{"realm_access":["roles","admin"]}"#,
            r#"{"realm_access":[{"roles":["admin"]}]}"#,
            r#"{"realm_access":{"roles":{"admin":1}}}"#,
            r#"{"realm_access":null}"#,
        ] {
            check(&path, admin(), bad, false);
        }
    }
}
