// The modules whose custom resource definitions the chart is checked against: files alone, nothing of them is built.
module paybridge.invalid/crds

go 1.24.0

require (
	github.com/kedacore/keda/v2 v2.17.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.3.0
)
