//! The search for users: the index terms of each user, and indexes from which a search reads only ids. The program fills the
//! table after this migration, because it normalises the terms.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut word = ColumnDef::new(UserWords::Word);
        word.text().not_null();
        let is_sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        if !is_sqlite {
            // Compared byte by byte, which is the default of SQLite.
            word.extra(r#"COLLATE "C""#);
        }
        let mut table = Table::create()
            .table(UserWords::Table)
            .col(ColumnDef::new(UserWords::UserId).uuid().not_null())
            .col(word)
            .primary_key(Index::create().col(UserWords::UserId).col(UserWords::Word))
            .foreign_key(
                ForeignKey::create()
                    .from(UserWords::Table, UserWords::UserId)
                    .to(Users::Table, Users::Id)
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        if is_sqlite {
            table.extra("WITHOUT ROWID");
        }
        manager.create_table(table).await?;
        let words = Index::create()
            .name("user_words_word")
            .table(UserWords::Table)
            .col(UserWords::Word)
            .col(UserWords::UserId)
            .to_owned();
        manager.create_index(words).await?;
        manager.drop_index(Index::drop().name("users_status_email").table(Users::Table).to_owned()).await?;
        for (name, column) in [("users_status_email", Users::Email), ("users_status_username", Users::Username)] {
            let index = Index::create().name(name).table(Users::Table).col(Users::Status).col(column).col(Users::Id).to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["users_status_email", "users_status_username"] {
            manager.drop_index(Index::drop().name(name).table(Users::Table).to_owned()).await?;
        }
        let index =
            Index::create().name("users_status_email").table(Users::Table).col(Users::Status).col(Users::Email).to_owned();
        manager.create_index(index).await?;
        manager.drop_table(Table::drop().table(UserWords::Table).to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum UserWords {
    Table,
    UserId,
    Word,
}

#[derive(DeriveIden)]
enum Users {
    Table,
    Id,
    Email,
    Username,
    Status,
}
