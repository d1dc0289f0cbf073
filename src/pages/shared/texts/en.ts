// The texts that all entries share, in English. This is the type of the other languages.

import type { ProblemCode } from "../problem.js";

const notUnderstood = "The service did not understand this request. Load the page again.";
const signInAgain = "Your session has ended. Sign in again.";

/** One sentence for each code: what is wrong, and what to do about it. */
const problems = {
  account_disabled: "This account is disabled. Ask the people who run this service.",
  already_verified: "This address is already confirmed.",
  authorization_stale: "The service cannot check permissions at the moment.",
  csrf_rejected: "This request came from another site. Load the page again.",
  email_taken: "An account with this address already exists. Sign in instead.",
  email_unverified: "Please confirm your email address first.",
  escalation_denied: "This needs permissions that you do not have.",
  expired_token: signInAgain,
  factor_required: "This service demands a second factor. Add another one before you remove this one.",
  headers_too_large: notUnderstood,
  insufficient_user_authentication: "Please confirm first that it is you.",
  internal: "Something went wrong on our side.",
  invalid_credentials: "The address, the username or the password is wrong.",
  invalid_challenge: "This took too long, or was tried too often. Please start again.",
  invalid_passkey: "This passkey could not be checked. Try again, or choose another way.",
  invalid_refresh_token: signInAgain,
  invalid_token: signInAgain,
  last_admin: "This is the last account with the rights of an administrator. Give them to another account first.",
  mail_unavailable: "This service sends no emails. Ask the people who run it.",
  malformed_request: notUnderstood,
  missing_token: signInAgain,
  not_found: "This does not exist any more.",
  overloaded: "The service is very busy at the moment.",
  passkeys_unavailable: "No passkey can be used here. Choose another way.",
  payload_too_large: notUnderstood,
  precondition_failed: "This has been changed elsewhere in the meantime. Load the page again.",
  registration_closed: "Nobody can create an account here at the moment.",
  request_timeout: "The request arrived too slowly. Check your connection and try again.",
  second_factor_required: "Your account also needs a second factor.",
  session_ended: signInAgain,
  stale_token: signInAgain,
  too_many_factors: "You have as many of these as possible. Remove one first.",
  too_many_requests: "There were too many attempts.",
  unavailable: "The service is not available at the moment.",
  unknown_passkey: "This passkey belongs to no account here. Choose another one, or sign in with your password.",
  unsupported_media_type: notUnderstood,
  uri_too_long: notUnderstood,
  username_taken: "This username is taken. Choose another one.",
  validation_failed: "Some of this needs to be corrected.",
  wrong_factor: "This did not confirm that it is you. Try again, or choose another way.",
} as const satisfies Record<ProblemCode, string>;

export const en = {
  problems,
  /** What is wrong with one field, by the code of the fault. */
  faults: {
    required: "Fill in this field.",
    type: "This is not valid here.",
    format: "Check the spelling.",
    too_short: "This is too short.",
    too_long: "This is too long.",
    pattern: "This contains characters that are not allowed here.",
    not_allowed: "This contains characters that are not allowed here.",
    common_password: "Many people use this password, so it is easy to guess. Choose another one.",
    contains_identity: "This password consists of your name, your address or the name of this service. Choose another one.",
    wrong_password: "This is not your current password.",
    wrong_code: "This code is not right, or was tried too often. Check it, or ask for another email.",
    expired_ticket: "This code has expired. Ask for another email.",
    spent_ticket: "This link has already been used, or is no longer valid.",
    invalid_ticket: "This link does not belong here.",
    email_taken: problems.email_taken,
    username_taken: problems.username_taken,
  },
  /** The same for the members of requests whose rules have words of their own. */
  memberFaults: {
    email: { format: "Enter an email address, such as ada@example.org." },
    username: {
      pattern: "A username must begin with a letter, and can contain a to z, 0 to 9, dot, underscore and hyphen.",
      too_short: "A username must have at least 3 characters.",
      too_long: "A username can have at most 32 characters.",
    },
    name: { too_short: "Enter a name, or leave the field empty.", too_long: "A name can have at most 100 characters." },
    code: { pattern: "The code must have 8 digits." },
  },
  fault: "This is not valid here.",
  passwordTooShort: "A password must have at least {length} characters.",
  newPasswordHint: "At least {length} characters. Several words that do not belong together are easy to remember.",
  failure: {
    unreachable: "There is no connection to the service. Check your connection and try again.",
    unexpected: "The service cannot be reached (response {status}). Try again later.",
    cookieNotKept: "Your browser does not keep the cookie of this site, so you would not stay signed in. Allow cookies and try again.",
    noPasskey: "No passkey was used. Try again, or choose another way.",
    hasPasskey: "This device already has a passkey for your account.",
    retry: "Try again in a moment.",
    retryAt: "Try again after {time}.",
    request: "If you ask for help, quote this number: {id}",
    again: "Try again",
  },
  form: {
    optional: "optional",
    show: "Show password",
    hide: "Hide password",
    cancel: "Cancel",
    copy: "Copy",
    copied: "Copied",
    busy: "One moment …",
  },
  frame: {
    skip: "Skip to the content",
    language: "Language",
    justNow: "just now",
    loading: "Loading …",
    newer: "There is a new version of this page.",
    reload: "Reload",
  },
} as const;

export type Texts = typeof en;
