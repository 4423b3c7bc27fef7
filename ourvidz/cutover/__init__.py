"""Moving a live service here and back: what the steps look at (docs/decisions/0035). The steps themselves are `ourvidz cutover`."""
