//! One body of every kind that Linear's public schema describes, with invented values: what the tests here read.

macro_rules! samples {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../tests/fixtures/linear/", $name, ".json")))),*]
    };
}

/// Names and bodies.
pub(super) const ALL: [(&str, &str); 16] = samples![
    "agentsession_created",
    "agentsession_prompted",
    "appusernotification_issueassignedtoyou",
    "appusernotification_issuecommentmention",
    "comment_create",
    "issue_create",
    "issue_remove",
    "issue_update",
    "issue_update_by_integration",
    "issuesla_breached",
    "issuesla_highrisk",
    "issuesla_set",
    "oauthapp_revoked",
    "permissionchange_teamaccesschanged",
    "project_update",
    "projectupdate_create",
];

/// The body of that name.
pub(super) fn named(name: &str) -> &'static str {
    ALL.iter().find(|(sample, _)| *sample == name).map(|(_, body)| *body).expect("the sample is in the list")
}
