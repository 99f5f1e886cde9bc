"""`serving/bundle`: the fold's members and their combination as one registered thing, the first champion among them."""

import dagster as dg

from crypto_assets.evaluation.walkforward import COMBINATIONS
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.partitions import Partitions

DOC = """The fold's checkpoints and how they are combined, registered in MLflow as one version of `crypto_assets`.

The first bundle becomes `champion` and is served. A later one becomes `challenger`, unless one is in shadow already; nothing
here promotes it. Of several folds the newest is registered; the same bundle is registered once."""


def bundle_asset(parts: Partitions) -> dg.AssetsDefinition:
    """One version in the registry a fold."""
    fused = COMBINATIONS["fused"]

    @dg.asset(
        key=["serving", "bundle"],
        deps=[["models", name] for name in sorted({*fused.direction, *fused.variance, "fusion"})],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"mlflow", "python"},
        group_name="serving",
        owners=["team:research"],
        description=DOC,
        required_resource_keys={"access"},
    )
    def bundle(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.evaluation import champion
        from crypto_assets.evaluation.model_registry import CHALLENGER, ModelRegistry

        access: Access = context.resources.access
        made = champion.of_fold(access.lake, max(context.partition_keys), world=access.settings.world)
        kept = ModelRegistry(access.settings)
        found = kept.register(made, alias=None if kept.aliased(CHALLENGER) else CHALLENGER)
        return dg.MaterializeResult(
            metadata={
                "version": found.number,
                "bundle": found.bundle,
                "alias": ", ".join(found.aliases) or "none",
                "members": ", ".join(made.members),
                "trained_until": made.describe()["trained_until"],
            }
        )

    return bundle
