// The texts of the account pages, in English. This is the type of the other languages.

import { en as shared } from "$shared/texts/en.js";

const en = {
  unavailable: { title: "This page cannot be shown" },
  notFound: { title: "Page not found", lead: "There is no page at this address.", back: "To your account" },

  menu: {
    label: "Your account",
    profile: "Profile",
    email: "Email address",
    password: "Password",
    sessions: "Sessions",
    close: "Close account",
    back: "Back to {host}",
    signOut: "Sign out",
  },

  /** Why somebody is at the sign-in page again. */
  signedOut: {
    logged_out: "You have signed out.",
    elsewhere: "You have signed out in another tab.",
    session_ended: "Your session has ended. Sign in again.",
    closed: "Your account has been closed.",
  },

  signIn: {
    title: "Sign in",
    lead: "Continue to {service}.",
    identifier: "Email address or username",
    password: "Password",
    submit: "Sign in",
    forgotten: "Forgotten your password?",
    newHere: "New here?",
    signUp: "Create an account",
  },

  signUp: {
    title: "Create an account",
    lead: "Create your account at {service}.",
    email: "Email address",
    submit: "Create account",
    haveOne: "Already have an account?",
    /** In the mode in which the address comes first. */
    addressLead: "Enter your email address. We send you an email with a code.",
    send: "Send code",
    codeLead: "We sent an email to {address}. Enter its code and choose a password, or open its link.",
    linkTitle: "Complete your account",
    linkLead: "This also confirms your address {address}.",
    otherAddress: "Use another address",
    closedTitle: "No new accounts",
    closedLead: "Nobody can create an account here at the moment.",
    invitedTitle: "By invitation only",
    invitedLead: "To create an account here, you need an invitation from the people who run this service. It arrives by email.",
  },

  code: {
    title: "Check your email",
    label: "Code from the email",
    hint: "8 digits. Spaces do not matter.",
    noMail: "No email? Look in your spam folder.",
    soon: "You can ask for it again in a minute.",
    again: "Send the email again",
    sentAgain: "We have sent the email again.",
  },

  reset: {
    title: "Choose a new password",
    askTitle: "Forgotten your password?",
    askLead: "Enter your email address or your username. We send you an email with a code.",
    codeLead: "If there is an account for {identifier}, an email is on its way. Enter its code and choose a new password, or open its link.",
    linkLead: "For the account {address}.",
    effect: "This signs you out on all other devices.",
    password: "New password",
    submit: "Set new password",
    doneTitle: "Your password is changed",
    doneLead: "You are signed in here, and signed out everywhere else.",
    doneLeadOut: "You are signed out everywhere. Sign in with the new password.",
    back: "Back to sign-in",
    noMail: "This service sends no emails. Ask the people who run it for a new password.",
  },

  revert: {
    title: "Undo the change of your address",
    lead: "Your account will have the address {address} again. Choose a new password too, because somebody else may know the old one.",
    effect: "This signs out all devices.",
    submit: "Restore my address",
    doneTitle: "Your address is restored",
    doneLead: "Your account has the address {address} again, and your new password.",
  },

  accept: {
    title: "Welcome",
    lead: "You are invited to {service}. Choose a password for your account {address}.",
  },

  verify: {
    title: "Confirm your address",
    lead: "We send an email with a code to {address}, so that you can show that this address is yours.",
    send: "Send email",
    codeLead: "We sent an email to {address}. Enter its code here, or open its link in this browser.",
    submit: "Confirm",
    linkLead: "Confirm that the address {address} is yours.",
    linkSubmit: "Confirm address",
    doneTitle: "Your address is confirmed",
    doneLead: "Thank you. {address} belongs to your account now.",
    alreadyLead: "{address} is already confirmed. There is nothing more to do.",
    later: "Later",
    noMail: "This service sends no emails, so addresses cannot be confirmed.",
  },

  change: {
    title: "Confirm your new address",
    lead: "Your account will have the address {address}.",
    submit: "Use this address",
    doneTitle: "Your address is changed",
    doneLead: "Your account has the address {address} now.",
    toAddress: "To your address",
  },

  paste: {
    title: "Open the link from the email",
    lead: "This page needs the whole link. If you have reloaded the page, or your email program has shortened the link, copy it from the email and paste it here.",
    label: "Link from the email",
    fault: "This is not the link from the email. It contains #t= and many letters.",
    submit: "Continue",
  },

  /** When the link of an email permits nothing any more. */
  link: {
    expired_ticket: { title: "This link has expired", lead: "For your security, links in emails work for a limited time." },
    spent_ticket: { title: "This link has already been used", lead: "Each link works once. It also ends when a newer one replaces it." },
    invalid_ticket: { title: "This link does not work", lead: "Part of it may be missing. Open it from the email once more." },
    signedInAs: "You are signed in here as {name}. After this, you are signed in as {address}.",
    otherAccount: "It may belong to another account than the one that is signed in here.",
    next: {
      reset: "Send a new email",
      signUp: "Start again",
      signIn: "Sign in",
      verify: "Send a new email",
      email: "To your address",
      account: "To your account",
      signOut: "Sign in to another account",
    },
    nextRevert: "If your address was changed against your will, ask the people who run this service.",
    nextInvite: "If you have no account yet, ask the person who invited you to send the invitation again.",
  },

  profile: {
    title: "Profile",
    unverified: "Please confirm that {address} is your address.",
    pending: "Your new address {address} is waiting for the code from our email.",
    confirm: "Confirm address",
    name: "Name",
    nameHint: "How we address you in emails.",
    username: "Username",
    usernameHint: "You can also sign in with it. 3 to 32 characters, beginning with a letter: a to z, 0 to 9, dot, underscore, hyphen.",
    language: "Language",
    languageHint: "For these pages and for our emails to you.",
    automatic: "Automatic",
    save: "Save changes",
    saved: "Your changes are saved.",
    unchanged: "There is nothing to save.",
    changedElsewhere: "Your profile was changed elsewhere. What you have typed is still here: check it and save again.",
    since: "Account since",
    lastSignIn: "Last sign-in",
  },

  address: {
    title: "Email address",
    confirmed: "Confirmed",
    unconfirmed: "Not confirmed",
    confirmLead: "Show us that this address is yours.",
    confirm: "Confirm address",
    changeTitle: "Change address",
    changeLead: "We send a link and a code to the new address. Until you confirm it, your account keeps the current one.",
    changeAtOnce: "The address of your account changes at once. After that, sign in with the new one.",
    undo: "A link in your current mailbox can then undo the change for seven days. During that time, no other account can have your current address.",
    new: "New email address",
    same: "This is already the address of your account.",
    current: "Current password",
    change: "Change address",
    changed: "Your account has the address {address} now.",
    changedUndo: "Your account has the address {address} now. For seven days, a link in our email to {before} can undo the change.",
    pendingTitle: "Confirm your new address",
    pendingLead: "We sent an email to {address}. Enter its code here, or open its link in this browser. Until then, everything stays as it is.",
    cancel: "Keep the current address",
    kept: "Your account keeps the address {address}.",
    noMail: "No email?",
    noMailLead: "Look in your spam folder, and check the spelling of the address. For another email, enter your password again.",
    sendAgain: "Send the email again",
    sentAgain: "We have sent the email again. Its code is the same.",
  },

  password: {
    title: "Password",
    lead: "You stay signed in here, and are signed out everywhere else.",
    change: "Change password",
    changed: "Your password is changed",
    changedLead: "You are still signed in here, and signed out everywhere else.",
    seeSessions: "See where you are signed in",
  },

  sessions: {
    title: "Where you are signed in",
    lead: "If you do not recognise a session, end it and change your password.",
    list: "Your sessions",
    current: "This session",
    browserOn: "{browser} on {system}",
    otherProgram: "Another program",
    used: "Last used",
    started: "Signed in",
    network: "IP address",
    end: "End session",
    endOf: "End session: {browser}",
    ended: "The session has ended: {browser}.",
    endedAlready: "That session had already ended.",
    endOthers: "End all other sessions",
    endOthersTitle: "End all other sessions?",
    endOthersEffect: "You stay signed in here. Everywhere else, you have to sign in again.",
    endedOthers: "All other sessions have ended.",
    onlyThis: "You are not signed in anywhere else.",
    more: "Show more",
  },

  close: {
    title: "Close account",
    effect: "This deletes your account and cannot be undone:",
    effects: [
      "You are signed out everywhere, and the applications that use this account no longer let you in.",
      "Others can then use your address and your username. A new account with them starts empty.",
    ],
    confirmation: "To confirm, type your email address",
    mismatch: "Type {address} here.",
    close: "Close account for good",
  },

  next: "Continue",
} as const;

export type Texts = typeof en;

export default { shared, own: en };
